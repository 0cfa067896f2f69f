# SPDX-License-Identifier: Apache-2.0
# Kernels against their reference, and the reference against the hashes in the tree. Linked from the folders base and
# kern alone, so that it needs no foreign library on any machine.
CHECKKERN := $(wildcard tests/kern/checkkern*.c)
$(B)/libkern.a: $(filter $(B)/src/kern/%,$(LIB_OBJ)) $(B)/src/base/err.o $(B)/src/base/dtype.o
	@rm -f $@
	$(Q)$(AR) rcs $@ $^
$(B)/checkkern: $(CHECKKERN) tests/kern/checkkern.h $(B)/libkern.a Makefile
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -o $@ $(CHECKKERN) $(B)/libkern.a
.PHONY: run-checkkern
run-checkkern: $(B)/checkkern
	@echo "== checkkern"
	@$(RUN) $< --golden tests/kern/golden.txt
	@$(RUN) $< --golden tests/kern/golden.txt --ftz
CHECKS += run-checkkern
