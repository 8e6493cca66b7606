# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Finds in a kernel log what must never be there. splat.patterns holds one
# extended regular expression a line, splat.harmless the exceptions, each with
# its reason.

__splat_patterns() {
	grep -vE '^(#|$)' "$1" || true
}

# The log without what is known to be harmless. A report between "cut here" and
# "end trace" is judged as a whole, as its call trace has no mark of its own; so is
# that of an allocation that failed.
__splat_without_harmless() {
	tr -d '\r' <"$1" | awk -v exceptions="$VM_DIR/splat.harmless" '
		BEGIN {
			while ((getline line <exceptions) > 0)
				if (line != "" && line !~ /^#/)
					harmless[line]
		}
		function is_harmless(text,  regex) {
			for (regex in harmless)
				if (text ~ regex)
					return 1
			return 0
		}
		function begin(last) {
			printf "%s", block
			block = ""
			known = 0
			inside = last
		}
		/\[ cut here \]/ { begin("---\\[ end trace") }
		/: (vmalloc error: size|page allocation failure: order)/ { begin("</TASK>") }
		{
			hit = is_harmless($0)
			if (!inside) {
				if (!hit)
					print NR ": " $0
				next
			}
			block = block NR ": " $0 "\n"
			known = known || hit
		}
		inside && $0 ~ inside {
			if (!known)
				printf "%s", block
			block = ""
			inside = ""
		}
		END { printf "%s", block }'
}

# splat_check LOG: prints the splats, if any, and fails.
splat_check() {
	local found
	found=$(__splat_without_harmless "$1" |
		grep -aE -f <(__splat_patterns "$VM_DIR/splat.patterns")) || return 0
	say "L1 ${KERNEL:-}/${VENDOR:-}: the kernel's log has splats:"
	printf '%s\n' "$found" | head -n 40 >&2
	return 1
}
