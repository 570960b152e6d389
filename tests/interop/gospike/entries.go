// Copyright (c) 2026, the dayzero.spike authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
)

// entry is a registration entry in the form in which "spire-server entry show -output json" gives
// it.
type entry struct {
	ID            string     `json:"id"`
	SPIFFEID      spiffeName `json:"spiffe_id"`
	ParentID      spiffeName `json:"parent_id"`
	Selectors     []selector `json:"selectors"`
	X509SVIDTTL   int        `json:"x509_svid_ttl"`
	JWTSVIDTTL    int        `json:"jwt_svid_ttl"`
	FederatesWith []string   `json:"federates_with"`
	Hint          string     `json:"hint"`
	Admin         bool       `json:"admin"`
	Downstream    bool       `json:"downstream"`
	ExpiresAt     string     `json:"expires_at"`
	DNSNames      []string   `json:"dns_names"`
	Revision      string     `json:"revision_number"`
	StoreSVID     bool       `json:"store_svid"`
}

type spiffeName struct {
	TrustDomain string `json:"trust_domain"`
	Path        string `json:"path"`
}

func (n spiffeName) String() string { return "spiffe://" + n.TrustDomain + n.Path }

func nameFrom(id string) (spiffeName, error) {
	rest, found := strings.CutPrefix(id, "spiffe://")
	domain, path, _ := strings.Cut(rest, "/")
	if !found || domain == "" {
		return spiffeName{}, fmt.Errorf("%q is not a SPIFFE ID", id)
	}
	return spiffeName{TrustDomain: domain, Path: "/" + path}, nil
}

type selector struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

func (s selector) String() string { return s.Type + ":" + s.Value }

func (e entry) equal(other entry) bool {
	return e.ID == other.ID && e.Revision == other.Revision
}

// entryStore is the file that stands for SPIRE's data store.
type entryStore struct {
	path string
}

func (s entryStore) load() ([]entry, error) {
	content, err := os.ReadFile(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var entries []entry
	return entries, json.Unmarshal(content, &entries)
}

// matching are the entries of an agent for a caller with these selectors.
func (s entryStore) matching(agent string, selectors []string) ([]entry, error) {
	entries, err := s.load()
	return slices.DeleteFunc(entries, func(e entry) bool {
		return e.ParentID.String() != agent || slices.ContainsFunc(
			e.Selectors, func(one selector) bool { return !slices.Contains(selectors, one.String()) },
		)
	}), err
}

// change loads, changes and saves the entries as one step among those of several processes.
func (s entryStore) change(change func([]entry) ([]entry, error)) error {
	lock, err := os.OpenFile(s.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	entries, err := s.load()
	if err != nil {
		return err
	}
	if entries, err = change(entries); err != nil {
		return err
	}
	content, err := json.MarshalIndent(entries, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path+".new", content, 0o644); err != nil {
		return err
	}
	return os.Rename(s.path+".new", s.path)
}

type texts []string

func (t *texts) String() string { return strings.Join(*t, ",") }

func (t *texts) Set(value string) error {
	*t = append(*t, value)
	return nil
}

// entryCommand stands for SPIRE's "spire-server entry show|create|update|delete". The file of the
// entries is GOSPIKE_ENTRIES. Where it fails it says so on standard error and exits with 1.
func entryCommand(arguments []string) error {
	if len(arguments) < 2 || arguments[0] != "entry" {
		return errors.New("usage: spire-server entry show|create|update|delete")
	}
	flags := flag.NewFlagSet("entry "+arguments[1], flag.ContinueOnError)
	var selectors texts
	flags.Var(&selectors, "selector", "TYPE:VALUE")
	entryID := flags.String("entryID", "", "")
	spiffeID := flags.String("spiffeID", "", "")
	parentID := flags.String("parentID", "", "")
	ttl := flags.Int("x509SVIDTTL", 0, "")
	expiry := flags.Int64("entryExpiry", 0, "")
	hint := flags.String("hint", "", "")
	output := flags.String("output", "pretty", "")
	flags.String("socketPath", "/tmp/spire-server/private/api.sock", "")
	if err := flags.Parse(arguments[2:]); err != nil {
		return err
	}
	store := entryStore{path: os.Getenv("GOSPIKE_ENTRIES")}
	if store.path == "" {
		return errors.New("connection error: no server here")
	}
	wanted := entry{ID: *entryID, X509SVIDTTL: *ttl, Hint: *hint, Selectors: []selector{},
		ExpiresAt: fmt.Sprint(*expiry)}
	for _, text := range selectors {
		kind, value, found := strings.Cut(text, ":")
		if !found {
			return fmt.Errorf("selector %q must be formatted as type:value", text)
		}
		wanted.Selectors = append(wanted.Selectors, selector{kind, value})
	}
	var err error
	for id, name := range map[string]*spiffeName{*spiffeID: &wanted.SPIFFEID, *parentID: &wanted.ParentID} {
		if id == "" {
			continue
		}
		if *name, err = nameFrom(id); err != nil {
			return err
		}
	}
	switch arguments[1] {
	case "show":
		return showEntries(store, *entryID, *spiffeID, *parentID, *output)
	case "create":
		return store.change(func(entries []entry) ([]entry, error) { return created(entries, wanted, *output) })
	case "update":
		return store.change(func(entries []entry) ([]entry, error) { return updated(entries, wanted, *output) })
	case "delete":
		return store.change(func(entries []entry) ([]entry, error) { return deleted(entries, wanted, *output) })
	}
	return fmt.Errorf("no such command: %q", arguments[1])
}

func showEntries(store entryStore, entryID, spiffeID, parentID, output string) error {
	entries, err := store.load()
	if err != nil {
		return err
	}
	found := []entry{}
	for _, e := range entries {
		if (entryID == "" || e.ID == entryID) &&
			(spiffeID == "" || e.SPIFFEID.String() == spiffeID) &&
			(parentID == "" || e.ParentID.String() == parentID) {
			found = append(found, e)
		}
	}
	if output != "json" {
		fmt.Fprintf(answers, "Found %d entries\n", len(found))
		return nil
	}
	return json.NewEncoder(answers).Encode(map[string]any{"entries": found, "next_page_token": ""})
}

func sameKey(one, other entry) bool {
	return one.SPIFFEID == other.SPIFFEID && one.ParentID == other.ParentID &&
		slices.Equal(one.Selectors, other.Selectors)
}

func created(entries []entry, wanted entry, output string) ([]entry, error) {
	for _, e := range entries {
		if sameKey(e, wanted) {
			return nil, errors.New("Failed to create the following entry (code: AlreadyExists, msg: \"similar entry already exists\")")
		}
	}
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	if wanted.ID == "" {
		wanted.ID = hex.EncodeToString(random)
	}
	wanted.Revision = "0"
	return append(entries, wanted), answerWith("entry", wanted, output)
}

func updated(entries []entry, wanted entry, output string) ([]entry, error) {
	for i, e := range entries {
		if e.ID != wanted.ID {
			continue
		}
		var revision int
		_, _ = fmt.Sscan(e.Revision, &revision)
		wanted.Revision = fmt.Sprint(revision + 1)
		entries[i] = wanted
		return entries, answerWith("entry", wanted, output)
	}
	return nil, errors.New("Failed to update the following entry (code: NotFound, msg: \"entry not found\")")
}

func deleted(entries []entry, wanted entry, output string) ([]entry, error) {
	left := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return e.ID == wanted.ID })
	if len(left) == len(entries) {
		return nil, errors.New("Failed to delete the following entry (code: NotFound, msg: \"entry not found\")")
	}
	return left, answerWith("entry", wanted, output)
}

func answerWith(name string, e entry, output string) error {
	if output != "json" {
		fmt.Fprintf(answers, "Entry ID: %s\n", e.ID)
		return nil
	}
	return json.NewEncoder(answers).Encode(map[string]any{"results": []any{map[string]any{
		"status": map[string]any{"code": 0, "message": "OK"}, name: e,
	}}})
}
