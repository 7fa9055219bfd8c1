// Command client knows nothing of Hourkey: what Go itself reads of its environment is all it gets.
//
//	client URL FILE                  posts a file of JSON, prints the answer and its status
//	client handshake HOST:PORT NAME  connects there, and says whether it is believed to be NAME
package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	if os.Args[1] == "handshake" {
		handshake(os.Args[2], os.Args[3])
		return
	}
	text, err := os.ReadFile(os.Args[2])
	check(err)
	answer, err := http.Post(os.Args[1], "application/json", bytes.NewReader(text)) //nolint:gosec,noctx // of a test
	check(err)
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	check(err)
	fmt.Println(string(said), answer.StatusCode)
}

func handshake(address, name string) {
	line, err := tls.Dial("tcp", address, &tls.Config{ServerName: name}) //nolint:gosec,noctx // the defaults are what is tried
	if err != nil {
		fmt.Println("refused:", err)
		return
	}
	fmt.Println("believed")
	_ = line.Close()
}

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}
