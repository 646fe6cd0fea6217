// Package began notes when the program began. Go initialises packages in the order of their paths as soon as what
// they import is ready, so that this one comes before Kubernetes's, which take 20 ms.
package began

import "time"

// At is when the program began.
var At = time.Now()
