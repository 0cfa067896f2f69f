# SPDX-License-Identifier: Apache-2.0
# The elementary functions over a subset of fp32 (run-mathf, in check) and over all of it (mathf-all).
# Not at the configuration's level: -O3, as kernels are compiled.
JOBS ?= 2
$(B)/mathf_all: tests/kern/mathf_all.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(if $(filter release,$(CONFIG)),-O3) -MMD -MP -MF $@.d -o $@ $< -lm -lpthread
.PHONY: run-mathf mathf-all mathf-isa
run-mathf: $(B)/mathf_all
	@echo "== mathf"
	@$(RUN) $<
mathf-all: $(B)/mathf_all ## every fp32 input of every elementary function (minutes)
	$(RUN) $< -s 1 -j $(JOBS)
mathf-isa: ## one hash from every compiler, level and instruction set at hand
	tools/mathf_isa.sh
CHECKS += run-mathf
CHECKS_ALL += mathf-isa mathf-all
