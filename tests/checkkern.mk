# SPDX-License-Identifier: Apache-2.0
# Kernels against their reference, and the reference against the hashes in the tree.
CHECKKERN := $(wildcard tests/kern/checkkern*.c)
$(B)/checkkern: $(CHECKKERN) tests/kern/checkkern.h $(B)/libtutti.a Makefile
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -o $@ $(CHECKKERN) $(B)/libtutti.a $(LDLIBS)
.PHONY: run-checkkern
run-checkkern: $(B)/checkkern
	@echo "== checkkern"
	@$(RUN) $< --golden tests/kern/golden.txt
	@$(RUN) $< --golden tests/kern/golden.txt --ftz
CHECKS += run-checkkern
