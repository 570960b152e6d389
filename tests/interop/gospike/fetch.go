// Copyright (c) 2026, the dayzero.spike authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// fetchCommand stands for SPIRE's "spire-agent api fetch x509 -write DIR".
func fetchCommand(arguments []string) error {
	if len(arguments) < 3 || arguments[0] != "api" || arguments[1] != "fetch" || arguments[2] != "x509" {
		return errors.New("usage: spire-agent api fetch x509")
	}
	flags := flag.NewFlagSet("fetch", flag.ContinueOnError)
	socket := flags.String("socketPath", "/run/spire/agent.sock", "")
	timeout := flags.Duration("timeout", 5*time.Second, "")
	directory := flags.String("write", "", "")
	if err := flags.Parse(arguments[3:]); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	found, err := workloadapi.FetchX509Context(ctx, workloadapi.WithAddr("unix://"+*socket))
	if err != nil {
		return err
	}
	for i, svid := range found.SVIDs {
		chain, key, err := svid.Marshal()
		if err != nil {
			return err
		}
		bundle, err := found.Bundles.GetX509BundleForTrustDomain(svid.ID.TrustDomain())
		if err != nil {
			return err
		}
		authorities, err := bundle.Marshal()
		if err != nil {
			return err
		}
		for name, content := range map[string][]byte{
			"svid.%d.pem": chain, "svid.%d.key": key, "bundle.%d.pem": authorities,
		} {
			path := filepath.Join(*directory, fmt.Sprintf(name, i))
			if block, _ := pem.Decode(content); block == nil {
				return fmt.Errorf("nothing to write to %s", path)
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(answers, "Received %d svids\n", len(found.SVIDs))
	return nil
}
