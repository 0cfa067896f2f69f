# SPDX-License-Identifier: Apache-2.0
# Kernels against their reference.
$(B)/checkkern: tests/kern/checkkern.c $(B)/libtutti.a Makefile
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -MMD -MP -MF $@.d -o $@ $< $(B)/libtutti.a $(LDLIBS)
.PHONY: run-checkkern
run-checkkern: $(B)/checkkern
	@echo "== checkkern"
	@$(RUN) $<
CHECKS += run-checkkern
