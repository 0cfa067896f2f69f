# SPDX-License-Identifier: Apache-2.0
# The whole program on AMX's code path, whatever this processor: tutti-amx is ./tutti with another answer to "has it AMX?"
# and a signal handler that carries out the tile instructions (tests/kern/amx_trap.c). Not with sanitizers: they own SIGILL
# or slow each of its many signals, and checkkern runs the same code there.
AMX_TRAP := $(B)/tests/kern/amx_machine.o $(B)/tests/kern/amx_trap.o
$(B)/tutti-amx: $(CMD_OBJ) $(AMX_TRAP) $(B)/libtutti.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(OPT) $(LDFLAGS) -o $@ $^ $(LDLIBS)
.PHONY: run-digest-amx
run-digest-amx: $(B)/tutti-amx
	@echo "== digest, AMX emulated"
	@if [ -z "$(RUN)" ] && grep -q avx512_vnni /proc/cpuinfo; then tests/e2e/digest.sh --only amx $<; \
	    else echo "*skipped*: no AVX-512 VNNI here"; fi
ifeq ($(ARCH)-$(filter asan tsan,$(CONFIG)),x86_64-)
CHECKS += run-digest-amx
endif
