package transaction

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// tokenLetters are those of a token: none looks like another.
const tokenLetters = "abcdefghjkmnpqrstuvwxyz23456789"

// newToken makes the word that confirms a migration: 12 letters in groups of
// four, 59 bits.
func newToken() string {
	var b strings.Builder
	for b.Len() < 14 {
		if b.Len()%5 == 4 {
			b.WriteByte('-')
			continue
		}
		var one [1]byte
		rand.Read(one[:]) // never fails
		// Bytes beyond the last whole alphabet are drawn again.
		if n := int(one[0]); n < 256/len(tokenLetters)*len(tokenLetters) {
			b.WriteByte(tokenLetters[n%len(tokenLetters)])
		}
	}
	return b.String()
}

// digest is what is kept of a token. Letters of either case and with or without
// the dashes are the same token.
func digest(token string) string {
	plain := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(token)), "-", "")
	sum := sha256.Sum256([]byte(plain))
	return hex.EncodeToString(sum[:])
}

func (r *Record) confirmedBy(token string) bool {
	return subtle.ConstantTimeCompare([]byte(r.Token), []byte(digest(token))) == 1
}
