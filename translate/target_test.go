package translate_test

import (
	"strings"
	"testing"

	"nftmigrate/translate"
)

func TestParseTarget(t *testing.T) {
	for s, want := range map[string]translate.Target{
		"":                       {},
		"kernel=4.18":            {Kernel: translate.Version{4, 18}},
		"nft=0.9.3":              {NFT: translate.Version{0, 9, 3}},
		"nft=1.0.6,kernel=5.4.2": {Kernel: translate.Version{5, 4, 2}, NFT: translate.Version{1, 0, 6}},
	} {
		if got, err := translate.ParseTarget(s); err != nil || got != want {
			t.Errorf("ParseTarget(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"4.18", "kernel", "kernel=", "kernel=4", "kernel=4.x", "kernel=4.-1", "kernel=+4.1", "kernel=1.2.3.4", "kernel=0.0", "nft=1.0,nft=1.1", "linux=5.4", "kernel=4.18,", "kernel=99999999999.1"} {
		if got, err := translate.ParseTarget(s); err == nil {
			t.Errorf("ParseTarget(%q) = %v, want an error", s, got)
		}
	}
}

// TestTargets has for each feature the last target that lacks it and the first
// that has it.
func TestTargets(t *testing.T) {
	for _, tt := range []struct {
		table, rule    string
		lacks, enough  string
		feature, older string // what the diagnostic names, or the text of an older form
	}{
		{"filter", "-A INPUT -p tcp -m connlimit --connlimit-above 3 -j DROP", "kernel=4.17", "kernel=4.18", "limits of connections", ""},
		{"filter", "-A INPUT -p tcp -m connlimit --connlimit-above 3 -j DROP", "nft=0.8.5", "nft=0.9.0", "limits of connections", ""},
		{"filter", "-A INPUT -m addrtype --dst-type LOCAL -j DROP", "kernel=4.9", "kernel=4.10", "routing tables", ""},
		{"filter", "-A INPUT -m statistic --mode nth --every 3 --packet 0 -j DROP", "kernel=4.8", "kernel=4.9", "go round", ""},
		{"filter", "-A INPUT -m statistic --mode random --probability 0.5 -j DROP", "kernel=4.17", "kernel=4.18", "random numbers", ""},
		{"filter", "-A INPUT -m conntrack --ctorigsrc 10.0.0.1 -j DROP", "kernel=4.16", "kernel=4.17", "of connections", ""},
		{"filter", "-A INPUT -m quota --quota 1000 -j DROP", "kernel=4.8", "kernel=4.9", "quotas", ""},
		{"filter", "-A INPUT -p tcp -m tcp --tcp-option 8 -j DROP", "nft=0.7.0", "nft=0.8.0", "header or option", ""},
		{"mangle", "-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu", "kernel=4.13", "kernel=4.14", "TCP options", ""},
		{"mangle", "-A FORWARD -j TTL --ttl-set 3", "kernel=4.9", "kernel=4.10", "header fields", ""},
		{"nat", "-A PREROUTING -d 10.0.0.0/24 -j NETMAP --to 10.1.0.0/24", "kernel=5.7", "kernel=5.8", "by prefix", ""},
		{"raw", "-A PREROUTING -j CT --notrack", "kernel=4.8", "kernel=4.9", "notrack", ""},
		{"filter", "-A INPUT -m conntrack ! --ctstate NEW -j DROP", "nft=0.9.9", "nft=1.0.0", "", "ct state & new == 0x0 drop"},
		{"mangle", "-A FORWARD -j DROP", "nft=0.9.0", "nft=0.9.1", "", "priority -150"},
		{"filter", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", "kernel=4.0", "kernel=4.1,nft=0.5.0", "nf_tables", ""},
	} {
		files := map[string][]byte{"rules.v4": []byte("*" + tt.table + "\n" + tt.rule + "\nCOMMIT\n")}
		for _, target := range []string{tt.lacks, tt.enough} {
			parsed, err := translate.ParseTarget(target)
			if err != nil {
				t.Fatal(err)
			}
			result, list := translated(t, files, translate.Options{Target: parsed})
			switch {
			case target == tt.enough:
				if result == nil {
					t.Errorf("%s for %s: %v", tt.rule, target, list)
				} else if text, _ := run(t, files, translate.Options{Target: parsed}); tt.older != "" && strings.Contains(text, tt.older) {
					t.Errorf("%s for %s has %q", tt.rule, target, tt.older)
				}
			case tt.older != "":
				if text, _ := run(t, files, translate.Options{Target: parsed}); !strings.Contains(text, tt.older) {
					t.Errorf("%s for %s: want %q in\n%s", tt.rule, target, tt.older, text)
				}
			default:
				if result != nil || len(list) == 0 || list[len(list)-1].Code != "untranslatable-for-target" || !strings.Contains(list[len(list)-1].Summary, tt.feature) {
					t.Errorf("%s for %s: %v, want untranslatable-for-target because of %q", tt.rule, target, list, tt.feature)
				}
			}
		}
	}
}

// TestTargetWithoutInetNAT gives each family a table of its own where one of both
// cannot translate addresses.
func TestTargetWithoutInetNAT(t *testing.T) {
	files := map[string][]byte{
		"rules.v4": []byte("*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n"),
		"rules.v6": []byte("*filter\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n"),
	}
	for target, want := range map[string]string{"kernel=5.1": "table ip firewall {", "kernel=5.2": "table inet firewall {"} {
		parsed, err := translate.ParseTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		if text, list := run(t, files, translate.Options{Target: parsed}); !strings.Contains(text, want) {
			t.Errorf("for %s: want %q in\n%s%s", target, want, text, list)
		}
	}
}
