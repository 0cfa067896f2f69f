# SPDX-License-Identifier: Apache-2.0
# No kernel holds a fused multiply-add that its source does not ask for (tests/kern/no_fma.h says how that is seen).
FMA_ASM := $(patsubst src/kern/%.c,$(B)/no_fma/%.s,$(filter src/kern/%,$(LIB_SRC)))
$(B)/no_fma/%.s: src/kern/%.c tests/kern/no_fma.h Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -O3 -g0 $(call isa_of,$<) -include tests/kern/no_fma.h -MMD -MP -S -o $@ $<
.PHONY: check-fma
check-fma: $(FMA_ASM) ## kernels hold no fused multiply-add of the compiler's own
	@if grep -nE '^[[:space:]]*(vfn?m(add|sub)|vfmaddsub|vfmsubadd|fn?m(add|sub)|fml[as])' $^; then \
	    echo "check-fma: the compiler fused products and sums: is -ffp-contract=off missing?"; exit 1; \
	else echo "check-fma: $(words $^) kernels hold no stray fused multiply-add"; fi
