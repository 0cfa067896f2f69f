# SPDX-License-Identifier: Apache-2.0
# make oracle-tokenizer: compares with PyPI's tokenizers and sentencepiece (tests/oracle/tokenizer.py says what it needs).
# GGUF=file adds a real vocabulary, FILES=... real tokenizer.json and tokenizer.model instead of trained ones. make bench-tokenizer VOCAB=file TEXT=file: MB/s.

$(B)/tests/toktool: tests/oracle/toktool.c $(B)/libtutti.a Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -Itests -MMD -MP -MF $@.d -o $@ $< $(B)/libtutti.a $(LDLIBS)

.PHONY: oracle-tokenizer bench-tokenizer
oracle-tokenizer: $(B)/tests/toktool
	$(PYTHON) tests/oracle/tokenizer.py --tool $< $(if $(GGUF),--gguf $(GGUF))
	$(PYTHON) tests/oracle/folder.py --tool $< $(FILES)
bench-tokenizer: $(B)/tests/toktool
	$< $(VOCAB) bench $(TEXT) 50
