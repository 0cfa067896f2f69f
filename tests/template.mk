# SPDX-License-Identifier: Apache-2.0
# The helper of tests/oracle/template.py; not part of `make check`, which needs no Python package.
.PHONY: template-cli
template-cli: $(B)/tests/template_cli ## builds the helper of tests/oracle/template.py
$(B)/tests/template_cli: tests/tools/template_cli.c $(B)/libtutti.a Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -MMD -MP -MF $@.d -o $@ $< $(B)/libtutti.a $(LDLIBS)
