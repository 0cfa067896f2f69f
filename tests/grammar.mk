# SPDX-License-Identifier: Apache-2.0
# make oracle-grammar GGUF=file [SCHEMAS=folder]: random walks through grammars of JSON Schemas, each text checked with
# PyPI's jsonschema. Without SCHEMAS the schemas are those of tests/oracle/grammar.py.

$(B)/tests/grammartool: tests/oracle/grammartool.c $(B)/libtutti.a Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -Itests -MMD -MP -MF $@.d -o $@ $< $(B)/libtutti.a $(LDLIBS)

.PHONY: oracle-grammar
oracle-grammar: $(B)/tests/grammartool
	$(PYTHON) tests/oracle/grammar.py --tool $< --gguf $(GGUF) $(if $(SCHEMAS),--schemas $(SCHEMAS))
