package nfnetlink

import "golang.org/x/sys/unix"

// Attribute numbers that x/sys lacks.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h.
const (
	chainID          = 11 // NFTA_CHAIN_ID
	chainFlags       = 10 // NFTA_CHAIN_FLAGS
	ruleChainID      = 11 // NFTA_RULE_CHAIN_ID
	rulePositionID   = 10 // NFTA_RULE_POSITION_ID
	setHandle        = 16 // NFTA_SET_HANDLE
	setExpr          = 17 // NFTA_SET_EXPR
	setExpressions   = 18 // NFTA_SET_EXPRESSIONS
	setBackend       = 19 // NFTA_SET_TYPE
	setCount         = 20 // NFTA_SET_COUNT
	elemKeyEnd       = 10 // NFTA_SET_ELEM_KEY_END
	elemExpressions  = 11 // NFTA_SET_ELEM_EXPRESSIONS
	verdictChainID   = 3  // NFTA_VERDICT_CHAIN_ID
	bitwiseData      = 7  // NFTA_BITWISE_DATA
	dynsetExprs      = 10 // NFTA_DYNSET_EXPRESSIONS
	dynsetFlagExpr   = 2  // NFT_DYNSET_F_EXPR
	innerExpr        = 5  // NFTA_INNER_EXPR
	listElem         = 1  // NFTA_LIST_ELEM
	chainFlagBinding = 4  // NFT_CHAIN_BINDING
	tableOwner       = 7  // NFTA_TABLE_OWNER
	flowtableUse     = 4  // NFTA_FLOWTABLE_USE
	flowtableHandle  = 5  // NFTA_FLOWTABLE_HANDLE
	objectHelper     = 3  // NFT_OBJECT_CT_HELPER
	helperName       = 1  // NFTA_CT_HELPER_NAME
	helperL3         = 2  // NFTA_CT_HELPER_L3PROTO
	objectTimeout    = 7  // NFT_OBJECT_CT_TIMEOUT
	timeoutPolicy    = 3  // NFTA_CT_TIMEOUT_DATA
	setDescConcat    = 2  // NFTA_SET_DESC_CONCAT
	objHandle        = 6  // NFTA_OBJ_HANDLE
)

// A schema says what is known about the attributes of one level of nesting.
// What it does not mention is opaque bytes.
type schema struct {
	// nested are the attributes that hold attributes.
	nested map[uint16]*schema
	// assigned are the attributes that only the kernel writes: handles,
	// counts of users, places, padding.
	assigned []uint16
	// volatile are the attributes that packets and time change.
	volatile []uint16
	// list marks a level of entries of one kind, in an order that matters.
	list bool
	// expression marks a level of name and data, where the name decides the
	// schema of the data.
	expression bool
	// object marks a level where a type number decides the schema of the data.
	object bool
}

var (
	verdictSchema = &schema{}
	dataSchema    = &schema{nested: map[uint16]*schema{unix.NFTA_DATA_VERDICT: verdictSchema}}

	expressionSchema = &schema{expression: true}
	expressionList   = &schema{list: true, nested: map[uint16]*schema{listElem: expressionSchema}}

	elementSchema = &schema{
		nested: map[uint16]*schema{
			unix.NFTA_SET_ELEM_KEY: dataSchema, unix.NFTA_SET_ELEM_DATA: dataSchema, elemKeyEnd: dataSchema,
			unix.NFTA_SET_ELEM_EXPR: expressionSchema, elemExpressions: expressionList,
		},
		assigned: []uint16{unix.NFTA_SET_ELEM_PAD},
		volatile: []uint16{unix.NFTA_SET_ELEM_EXPIRATION},
	}

	descSchema = &schema{nested: map[uint16]*schema{
		setDescConcat: {list: true, nested: map[uint16]*schema{listElem: {}}},
	}}

	// messageSchemas are the schemas of messages that make something, by
	// NFT_MSG_* number.
	messageSchemas = map[int]*schema{
		unix.NFT_MSG_NEWTABLE: {
			assigned: []uint16{unix.NFTA_TABLE_USE, 4, 5, tableOwner},
		},
		unix.NFT_MSG_NEWCHAIN: {
			nested:   map[uint16]*schema{unix.NFTA_CHAIN_HOOK: {}, unix.NFTA_CHAIN_COUNTERS: {}},
			assigned: []uint16{unix.NFTA_CHAIN_HANDLE, unix.NFTA_CHAIN_USE, unix.NFTA_CHAIN_PAD},
			volatile: []uint16{unix.NFTA_CHAIN_COUNTERS},
		},
		unix.NFT_MSG_NEWSET: {
			nested: map[uint16]*schema{
				unix.NFTA_SET_DESC: descSchema, setExpr: expressionSchema, setExpressions: expressionList,
			},
			assigned: []uint16{unix.NFTA_SET_PAD, setHandle, setBackend, setCount},
		},
		unix.NFT_MSG_NEWSETELEM: {
			nested: map[uint16]*schema{
				unix.NFTA_SET_ELEM_LIST_ELEMENTS: {list: true, nested: map[uint16]*schema{listElem: elementSchema}},
			},
		},
		unix.NFT_MSG_NEWOBJ: {
			object:   true,
			assigned: []uint16{unix.NFTA_OBJ_USE, objHandle, 7},
		},
		unix.NFT_MSG_NEWFLOWTABLE: {
			assigned: []uint16{flowtableUse, flowtableHandle, 6},
		},
		unix.NFT_MSG_NEWRULE: {
			nested:   map[uint16]*schema{unix.NFTA_RULE_EXPRESSIONS: expressionList, unix.NFTA_RULE_COMPAT: {}},
			assigned: []uint16{unix.NFTA_RULE_HANDLE, unix.NFTA_RULE_POSITION, 8},
		},
	}

	counterSchema = &schema{
		assigned: []uint16{unix.NFTA_COUNTER_PAD},
		volatile: []uint16{unix.NFTA_COUNTER_BYTES, unix.NFTA_COUNTER_PACKETS},
	}
	quotaSchema = &schema{
		assigned: []uint16{unix.NFTA_QUOTA_PAD},
		volatile: []uint16{unix.NFTA_QUOTA_CONSUMED},
	}

	// dataSchemas are the schemas of an expression's data, by its name.
	dataSchemas = map[string]*schema{
		"immediate": {nested: map[uint16]*schema{unix.NFTA_IMMEDIATE_DATA: dataSchema}},
		"bitwise": {nested: map[uint16]*schema{
			unix.NFTA_BITWISE_MASK: dataSchema, unix.NFTA_BITWISE_XOR: dataSchema, bitwiseData: dataSchema,
		}},
		"cmp":   {nested: map[uint16]*schema{unix.NFTA_CMP_DATA: dataSchema}},
		"range": {nested: map[uint16]*schema{unix.NFTA_RANGE_FROM_DATA: dataSchema, unix.NFTA_RANGE_TO_DATA: dataSchema}},
		"dynset": {
			nested:   map[uint16]*schema{unix.NFTA_DYNSET_EXPR: expressionSchema, dynsetExprs: expressionList},
			assigned: []uint16{unix.NFTA_DYNSET_PAD},
		},
		"inner":   {nested: map[uint16]*schema{innerExpr: expressionSchema}},
		"limit":   {assigned: []uint16{unix.NFTA_LIMIT_PAD}},
		"counter": counterSchema,
		"quota":   quotaSchema,
		"lookup":  {},
		"objref":  {},
		"log":     {},
		"nat":     {},
		"masq":    {},
		"redir":   {},
		"reject":  {},
		"match":   {},
		"target":  {},
		"last":    {volatile: []uint16{1, 2}, assigned: []uint16{3}},
	}

	// objectSchemas are the schemas of an object's data, by NFT_OBJECT_*.
	objectSchemas = map[uint32]*schema{
		unix.NFT_OBJECT_COUNTER: counterSchema,
		unix.NFT_OBJECT_QUOTA:   quotaSchema,
		objectHelper:            {},
		objectTimeout:           {nested: map[uint16]*schema{timeoutPolicy: {}}},
		unix.NFT_OBJECT_LIMIT:   {assigned: []uint16{unix.NFTA_LIMIT_PAD}},
	}
)
