package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const maxDepth = 16 // of nested JSON; the API's own shapes have five

// Strict reads one JSON value into what into points to. It refuses what two readers could understand
// differently: text that is not UTF-8, a member named twice (also in another case), a member that is
// not known, anything after the value, nesting beyond reason.
func Strict(data []byte, into any) error {
	if err := Unambiguous(data); err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// Unambiguous is Strict without a shape: unknown members pass.
func Unambiguous(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("the JSON is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := walk(decoder, 0); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands after the JSON value")
	}
	return nil
}

func walk(decoder *json.Decoder, depth int) error {
	token, err := decoder.Token()
	if err != nil {
		return malformed(err)
	}
	if depth > maxDepth {
		return fmt.Errorf("the JSON is nested more than %d deep", maxDepth)
	}
	switch token {
	case json.Delim('{'):
		return walkObject(decoder, depth)
	case json.Delim('['):
		for decoder.More() {
			if err := walk(decoder, depth+1); err != nil {
				return err
			}
		}
		_, err := decoder.Token()
		return malformed(err)
	}
	return nil
}

func walkObject(decoder *json.Decoder, depth int) error {
	var seen [16]string // folded names; more than fit are kept in the slice that grows from it
	names := seen[:0]
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return malformed(err)
		}
		name, _ := token.(string)
		for _, other := range names {
			if strings.EqualFold(other, name) { // encoding/json matches names without regard to case
				return fmt.Errorf("the JSON names %.40q twice", name)
			}
		}
		if names = append(names, name); len(names) > 64 {
			return errors.New("a JSON object has more than 64 members")
		}
		if err := walk(decoder, depth+1); err != nil {
			return err
		}
	}
	_, err := decoder.Token()
	return malformed(err)
}

func malformed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the JSON ends too early")
	}
	return err
}
