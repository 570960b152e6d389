// Copyright (c) 2026, the dayzero.spike authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Gospike plays SPIKE's keepers and Nexus with SPIKE's own libraries, so that the collection's
// arithmetic, wire format and TLS rules are judged by code that none of its authors wrote.
//
// It speaks JSON, one line a message, on stdin and stdout, and ends when stdin does:
//
//	gospike split      {"root_key": HEX, "threshold": T, "shares": N}  ->  {"shards": {"1": HEX, ...}}
//	gospike recover    {"shards": {"1": HEX, ...}, "threshold": T}     ->  {"root_key": HEX}
//	gospike line       {"line": LINE}  ->  {"index": I, "shard": HEX}, of a custodian's line
//	gospike serve      see serve.go
//
// On a host of its own it stands for one program, until it is stopped:
//
//	gospike keeper     SPIKE's keeper, see host.go
//	gospike nexus      SPIKE's Nexus, see host.go
//	gospike agent      SPIRE's agent, see agent.go; "gospike authority" makes its authority
//
// and under the name spire-server for that program's command "entry", see entries.go, and under the
// name spire-agent for "api fetch x509", see fetch.go.
//
// A message that cannot be answered is answered with {"error": TEXT}.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// failure is the answer to a message that cannot be answered.
type failure struct {
	Error string `json:"error"`
}

// answers is where answers go.
var answers = os.Stdout

func main() {
	// The SDK logs to standard output, which belongs to the answers here.
	os.Stdout = os.Stderr
	if err := start(filepath.Base(os.Args[0]), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gospike:", err)
		os.Exit(1)
	}
}

// start does what the program's name or its first argument says: installed as spike-keeper it is
// called without arguments.
func start(name string, arguments []string) error {
	switch name {
	case "spire-server":
		return entryCommand(arguments)
	case "spire-agent":
		return fetchCommand(arguments)
	case "spike-keeper":
		return hostKeeper()
	case "spike-nexus":
		return hostNexus()
	}
	if len(arguments) == 0 {
		return errors.New("usage: gospike split|recover|line|serve|keeper|nexus|agent|authority")
	}
	switch arguments[0] {
	case "keeper":
		return hostKeeper()
	case "nexus":
		return hostNexus()
	case "agent":
		return hostAgent(arguments[1:])
	case "authority":
		return makeAuthority(arguments[1:])
	}
	return run(arguments, newTalk(os.Stdin, answers))
}

func run(arguments []string, conversation *talk) error {
	switch arguments[0] {
	case "split":
		return answerAll(conversation, answerSplit)
	case "recover":
		return answerAll(conversation, answerRecover)
	case "line":
		return answerAll(conversation, answerLine)
	case "serve":
		return serve(conversation)
	}
	return fmt.Errorf("no such command: %q", arguments[0])
}

// talk is one side of the conversation: messages come in, answers go out.
type talk struct {
	messages *json.Decoder
	answers  *json.Encoder
}

func newTalk(in io.Reader, out io.Writer) *talk {
	messages := json.NewDecoder(in)
	messages.DisallowUnknownFields()
	return &talk{messages: messages, answers: json.NewEncoder(out)}
}

// answerAll answers one message after the other until there are no more.
func answerAll[Message any](conversation *talk, answer func(Message) (any, error)) error {
	for {
		var message Message
		switch err := conversation.messages.Decode(&message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("a message that cannot be read: %w", err)
		}
		reply, err := answer(message)
		if err != nil {
			reply = failure{Error: err.Error()}
		}
		if err := conversation.answers.Encode(reply); err != nil {
			return err
		}
	}
}
