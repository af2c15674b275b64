package nftgen

// sctpChunks are the names and numbers of the types of chunks of SCTP that nft 1.0.6
// knows (RFC 9260, section 3.2).
var sctpChunks = map[string]uint32{
	"data": 0, "init": 1, "init-ack": 2, "sack": 3, "heartbeat": 4, "heartbeat-ack": 5, "abort": 6, "shutdown": 7, "shutdown-ack": 8, "error": 9,
	"cookie-echo": 10, "cookie-ack": 11, "ecne": 12, "cwr": 13, "shutdown-complete": 14, "asconf-ack": 128, "forward-tsn": 192, "asconf": 193,
}

// SCTPChunk is the first chunk of a type, for [Exists]; without a name it has no
// text. nft tests for no protocol before it.
func SCTPChunk(name string) Field {
	number, ok := sctpChunks[name]
	if !ok {
		return Field{}
	}
	return Field{Text: "sctp chunk " + name, Type: boolean, access: &access{load: loader{kind: loadExthdrSCTP, key: number, length: 1, present: true}}}
}
