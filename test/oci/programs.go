// SPDX-License-Identifier: Apache-2.0

package main

// The suite's own faults, and what this kind of machine lacks. They explain
// rows in the table; nothing is decided by them but for flaky.
var notes = []struct{ program, note string }{
	{"delete", "the suite's: it deletes what it has not created"},
	{"delete_resources", "the suite's, as delete"},
	{"hooks", "the suite's: it prints its plan only"},
	{"linux_cgroups_devices", "vitro-oci writes what all rules come to: any node may be made (m), so rw reads back as rwm"},
	{"linux_cgroups_memory", "kernel memory (kmem) was taken out of the kernel; vitro-oci passes kernelTCP over, too"},
	{"linux_cgroups_pids", "the suite's: it compares pointers"},
	{"linux_cgroups_relative_devices", "as linux_cgroups_devices"},
	{"linux_cgroups_relative_memory", "kernel memory (kmem) was taken out of the kernel"},
	{"linux_cgroups_relative_pids", "the suite's: it compares pointers"},
	{"linux_mount_label", "needs SELinux; vitro-oci and runc refuse it where there is none"},
	{"linux_process_apparmor_profile", "needs AppArmor"},
	{"misc_props", "the suite's: the program that it starts is not in the container"},
	{"process_rlimits", "needs CAP_SYS_RESOURCE"},
	{"start", "the suite's: it starts what was not created"},
}

// flaky programs don't decide: they wait for a state that may be over before they look.
var flaky = []string{"pidfile", "process_rlimits"}

// short is a sample: about a dozen programs, one of each kind, that are clean under runc.
var short = []string{
	"create", "default", "hostname", "kill", "killsig", "linux_devices", "linux_masked_paths", "linux_readonly_paths",
	"linux_rootfs_propagation", "linux_seccomp", "linux_sysctl", "linux_uid_mappings", "mounts", "process",
	"process_capabilities", "root_readonly_true", "state",
}
