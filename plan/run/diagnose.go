// SPDX-License-Identifier: Apache-2.0

package run

func (f *Fault) diagnose(x *execution) {}
