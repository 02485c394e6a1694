// Package tools pins what critest is made of: its own package holds nothing but a test file, which
// neither an import nor a tool line can name.
package tools

import (
	_ "sigs.k8s.io/cri-tools/pkg/benchmark"
	_ "sigs.k8s.io/cri-tools/pkg/framework"
	_ "sigs.k8s.io/cri-tools/pkg/validate"
)
