// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"
)

func completionCommand(*app) *cobra.Command {
	c := &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "print a script that has a shell complete vitro's commands, flags and names",
		Example: "  vitro completion bash >/etc/bash_completion.d/vitro\n" +
			"  vitro completion zsh >\"${fpath[1]}/_vitro\"\n" +
			"  vitro completion fish >~/.config/fish/completions/vitro.fish\n" +
			"  source <(vitro completion bash)                             # for this shell only",
		Args:                  cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs:             []string{"bash", "zsh", "fish"},
		DisableFlagsInUseLine: true,
	}
	c.RunE = func(c *cobra.Command, args []string) error { return completionScript(os.Stdout, c.Root(), args[0]) }
	return c
}

// bashWords stands in for the package bash-completion, which the script asks
// for the words of the line. Blanks part them here, and nothing else does: an image's name has colons.
const bashWords = `declare -F _get_comp_words_by_ref >/dev/null || _get_comp_words_by_ref() {
    local line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$line"
    [[ $line != *[[:blank:]] ]] || words+=("")
    cword=$((${#words[@]} - 1))
    cur=${words[cword]}
    prev=${words[cword > 0 ? cword - 1 : 0]}
}

`

func completionScript(w io.Writer, root *cobra.Command, shell string) error {
	switch shell {
	case "zsh":
		return root.GenZshCompletion(w)
	case "fish":
		return root.GenFishCompletion(w, true)
	}
	if _, err := io.WriteString(w, bashWords); err != nil {
		return err
	}
	return root.GenBashCompletionV2(w, true)
}
