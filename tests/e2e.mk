# SPDX-License-Identifier: Apache-2.0
# Tests of the program as a user meets it: tests/e2e/NAME.sh PROGRAM...
E2E_RUN := $(patsubst tests/e2e/%.sh,e2e-%,$(wildcard tests/e2e/*.sh))
.PHONY: $(E2E_RUN)
$(E2E_RUN): e2e-%: tests/e2e/%.sh $(B)/tutti
	@echo "== e2e $*"
	@$< $(RUN) $(B)/tutti
e2e-ledger: $(B)/tests/test_ledger
CHECKS += $(E2E_RUN)
