# SPDX-License-Identifier: Apache-2.0
# Kernels against their reference, and the reference against the hashes in the tree. Linked from the folders base and
# kern alone, so that it needs no foreign library on any machine.
CHECKKERN := $(wildcard tests/kern/checkkern*.c)
ifeq ($(ARCH),x86_64)
CHECKKERN += tests/kern/amx_trap.c
endif
$(B)/libkern.a: $(filter $(B)/src/kern/%,$(LIB_OBJ)) $(B)/src/base/err.o $(B)/src/base/dtype.o
	@rm -f $@
	$(Q)$(AR) rcs $@ $^
# matmul_amx.c with its tiles in plain C (kern/amx_tile.h): a table of its own, on every processor with AVX-512
ifeq ($(ARCH),x86_64)
AMX_EMULATED := $(B)/tests/kern/amx_emulated.o
$(AMX_EMULATED): src/kern/matmul_amx.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(if $(filter release,$(CONFIG)),-O3) $(ISA_avx512) -DAMX_EMULATE \
	    -Dmatmul_amx=matmul_amx_emulated -MMD -MP -c -o $@ $<
endif
$(B)/checkkern: $(CHECKKERN) $(wildcard tests/kern/*.h) $(AMX_EMULATED) $(B)/libkern.a Makefile
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -o $@ $(CHECKKERN) $(AMX_EMULATED) $(B)/libkern.a
.PHONY: run-checkkern
run-checkkern: $(B)/checkkern
	@echo "== checkkern"
	@$(RUN) $< --golden tests/kern/golden.txt
	@$(RUN) $< --golden tests/kern/golden.txt --ftz
CHECKS += run-checkkern
