# SPDX-License-Identifier: Apache-2.0
# make oracle-weights: every weight type against PyPI's gguf and an f64 reference (tests/oracle/weights.py says what it needs).
.PHONY: oracle-weights
oracle-weights: $(B)/tutti
	$(PYTHON) tests/oracle/weights.py $<
