// The DNS server of the cluster: CoreDNS with the few plugins that a cluster without a way out needs.
package main

import (
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/template"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
)

func main() {
	// Also the order in which a question passes through them.
	dnsserver.Directives = []string{"errors", "hosts", "template", "kubernetes"}
	coremain.Run()
}
