package store

import (
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Every key of an engine begins with one byte that tells what it is:
//
//	'f' kind                                  → newest format a record of the kind was ever saved in, if above 1
//	'i' kind 00 name 00 order 00 key          → empty; the index name of the kind, in order of (order, key)
//	'l' …                                     → the event log's own
//	'r' kind 00 key                           → a record, see envelope
//
// kind, name and order hold no zero byte, so that "a" sorts before "ab" and no two places collide; a
// key comes last and may hold anything.
const (
	formatPrefix = 'f'
	indexPrefix  = 'i'
	LogPrefix    = 'l' // LogPrefix begins every key of an Appender.
	recordPrefix = 'r'
)

func formatKey(kind string) []byte { return append([]byte{formatPrefix}, kind...) }

func recordKey(kind, key string) []byte {
	out := make([]byte, 0, len(kind)+len(key)+2)
	out = append(out, recordPrefix)
	out = append(out, kind...)
	out = append(out, 0)
	return append(out, key...)
}

func indexKey(kind, name, order, key string) []byte {
	out := make([]byte, 0, len(kind)+len(name)+len(order)+len(key)+4)
	out = append(indexStart(out, kind, name), order...)
	out = append(out, 0)
	return append(out, key...)
}

// indexStart appends what all keys of one index begin with.
func indexStart(out []byte, kind, name string) []byte {
	out = append(out, indexPrefix)
	out = append(out, kind...)
	out = append(out, 0)
	out = append(out, name...)
	return append(out, 0)
}

// after gives the first key behind all those that begin with prefix, whose last byte is below 0xff.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	end[len(end)-1]++
	return end
}

// checkMeta refuses a place that the keyspace cannot hold: that is a mistake of the record's type.
func checkMeta(m broker.Meta) error {
	if m.Kind == "" || m.Key == "" || m.Format < 1 || strings.IndexByte(m.Kind, 0) >= 0 {
		return broker.Errorf(broker.CodeInternal, "a record of kind %q wants a kind without zero bytes, a key, and a format of at least 1", m.Kind)
	}
	for _, e := range m.Index {
		if e.Name == "" || strings.IndexByte(e.Name, 0) >= 0 || strings.IndexByte(e.Order, 0) >= 0 {
			return broker.Errorf(broker.CodeInvalid, "a record of kind %q stands in an index whose name is empty or holds a zero byte", m.Kind)
		}
	}
	return nil
}
