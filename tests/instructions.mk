# SPDX-License-Identifier: Apache-2.0
# The instruction-count gate of `make check-all`: tests/instructions.py says what is counted.
.PHONY: check-instructions record-instructions
INSTRUCTIONS := tests/instructions.py $(B)/tutti tests/instructions.txt
check-instructions: $(B)/tutti ## instructions of the token path against a recorded budget (callgrind)
	@[ $(ARCH) = x86_64 ] || { echo "== $@: *skipped*, this is $(ARCH)"; exit 0; }; \
	command -v valgrind >/dev/null || { echo "== $@: *skipped*, no valgrind"; exit 0; }; \
	grep -q avx2 /proc/cpuinfo || { echo "== $@: *skipped*, no AVX2"; exit 0; }; \
	echo "== $@" && $(INSTRUCTIONS)
record-instructions: $(B)/tutti ## records that budget anew
	$(INSTRUCTIONS) --record
