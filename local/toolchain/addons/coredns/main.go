// CoreDNS with the plugins that cluster DNS needs and no cloud's: a sixth of
// the packages of the stock build, so it compiles in seconds.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/ready"
)

// The order in which a query passes the plugins; it is CoreDNS's own.
func init() {
	dnsserver.Directives = []string{
		"bind", "health", "ready", "prometheus", "errors", "loadbalance", "cache", "kubernetes",
	}
}

func main() { coremain.Run() }
