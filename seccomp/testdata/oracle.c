// SPDX-License-Identifier: Apache-2.0
//
// Builds a filter with libseccomp from a list of lines on standard input and
// writes it to standard output. The Go tests compare its verdicts with ours.
//
//   default ACTION                  first line; ACTION as a number
//   only ARCH                       drop the native architecture, add this one
//   arch ARCH                       add an architecture, by libseccomp's name
//   rule ACTION NAME [ARG OP A B]*  OP is a number of enum scmp_compare
//
// Names that libseccomp doesn't know are listed on standard error. Exit status
// 3 means that libseccomp refused a rule.

#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what, int code)
{
	fprintf(stderr, "error %s: %s\n", what, strerror(-code));
	exit(code == -EEXIST ? 3 : 1);
}

static void add_rule(scmp_filter_ctx ctx, char *line)
{
	struct scmp_arg_cmp args[6];
	unsigned n = 0, arg, op;
	uint32_t action;
	uint64_t a, b;
	char name[64];
	int used, nr, rc;

	if (sscanf(line, "%" SCNu32 " %63s%n", &action, name, &used) != 2)
		die("rule", -EINVAL);
	line += used;
	while (n < 6 && sscanf(line, "%u %u %" SCNu64 " %" SCNu64 "%n", &arg, &op, &a, &b, &used) == 4) {
		args[n].arg = arg;
		args[n].op = op;
		args[n].datum_a = a;
		args[n].datum_b = b;
		n++;
		line += used;
	}
	nr = seccomp_syscall_resolve_name(name);
	if (nr == __NR_SCMP_ERROR) {
		fprintf(stderr, "unknown %s\n", name);
		return;
	}
	rc = seccomp_rule_add_array(ctx, action, nr, n, args);
	if (rc < 0)
		die(name, rc);
}

int main(void)
{
	scmp_filter_ctx ctx = NULL;
	char line[1024], word[64];
	int used, rc;

	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "%63s %n", word, &used) != 1)
			continue;
		char *rest = line + used;
		rest[strcspn(rest, "\n")] = 0;
		if (!strcmp(word, "default")) {
			ctx = seccomp_init(strtoul(rest, NULL, 10));
			if (!ctx)
				die("init", -EINVAL);
		} else if (!strcmp(word, "only")) {
			uint32_t token = seccomp_arch_resolve_name(rest);
			if ((rc = seccomp_arch_add(ctx, token)) < 0 && rc != -EEXIST)
				die(rest, rc);
			if (token != seccomp_arch_native() && (rc = seccomp_arch_remove(ctx, seccomp_arch_native())) < 0)
				die("remove", rc);
		} else if (!strcmp(word, "arch")) {
			if ((rc = seccomp_arch_add(ctx, seccomp_arch_resolve_name(rest))) < 0 && rc != -EEXIST)
				die(rest, rc);
		} else if (!strcmp(word, "rule")) {
			add_rule(ctx, rest);
		}
	}
	if ((rc = seccomp_export_bpf(ctx, 1)) < 0)
		die("export", rc);
	return 0;
}
