# SPDX-License-Identifier: Apache-2.0
# The libraries as they are installed, `make install` and `make uninstall`, and a test of all that.
#
# libtutti.so exports what packaging/tutti.map says. The installed libtutti.a is one object whose hidden names are local, so
# that a program which links it can have an `err` or a `buf_append` of its own. Both hold what src/serve/library.c reaches, so that a
# program that runs a model needs none of the server's libraries.

SOVERSION := $(word 1,$(subst ., ,$(VERSION)))
LIB_SO := $(B)/lib/libtutti.so.$(VERSION)
LIB_A := $(B)/lib/libtutti.a
LIB_ROOT := $(B)/src/serve/library.o $(B)/libtutti.a
LIB_PKGS := jansson libpcre2-8 libsodium libutf8proc inih
OBJCOPY ?= $(if $(findstring aarch64,$(CC)),aarch64-linux-gnu-)objcopy
MAN := tutti $(patsubst cmd/%.c,tutti-%,$(shell grep -l '^int cmd_' cmd/*.c))
DATA := $(DESTDIR)$(prefix)

$(LIB_SO): $(LIB_ROOT) packaging/tutti.map
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(OPT) -shared -Wl,-soname,libtutti.so.$(SOVERSION) -Wl,--version-script=packaging/tutti.map $(LDFLAGS) -o $@ $(LIB_ROOT) $(shell $(PKG_CONFIG) --libs $(LIB_PKGS)) -lpthread -lm
	@ln -sf $(@F) $(@D)/libtutti.so.$(SOVERSION)
	@ln -sf $(@F) $(@D)/libtutti.so

$(LIB_A): $(LIB_ROOT)
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)$(CC) -nostdlib -r -o $(@D)/tutti.o $(LIB_ROOT)
	$(Q)$(OBJCOPY) --localize-hidden $(@D)/tutti.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(@D)/tutti.o

install: $(B)/tutti $(LIB_SO) $(LIB_A) ## installs under $DESTDIR$prefix (default: /usr/local)
	install -d $(DATA)/bin $(DATA)/lib/pkgconfig $(DATA)/include $(DATA)/share/doc/tutti $(DATA)/share/man/man1
	install -m 755 $(B)/tutti $(DATA)/bin/tutti
	install -m 644 include/tutti.h $(DATA)/include/tutti.h
	install -m 644 $(LIB_A) $(DATA)/lib/libtutti.a
	install -m 755 $(LIB_SO) $(DATA)/lib/libtutti.so.$(VERSION)
	ln -sf libtutti.so.$(VERSION) $(DATA)/lib/libtutti.so.$(SOVERSION)
	ln -sf libtutti.so.$(VERSION) $(DATA)/lib/libtutti.so
	sed -e 's|@prefix@|$(prefix)|' -e 's|@version@|$(VERSION)|' -e 's|@packages@|$(LIB_PKGS)|' packaging/tutti.pc.in >$(DATA)/lib/pkgconfig/tutti.pc
	install -m 644 README.md LICENSE doc/*.md $(DATA)/share/doc/tutti
	@if command -v scdoc >/dev/null; then \
	    for m in $(MAN); do \
	        command=$${m#tutti}; $(RUN) $(B)/tutti $${command#-} --man | scdoc >$(DATA)/share/man/man1/$$m.1 || { echo "install: no man page for $$m"; exit 1; }; \
	    done; echo "man pages: $(MAN)"; \
	else echo "install: scdoc is not installed, no man pages (apt-get install scdoc)"; fi

uninstall: ## removes what install put there
	rm -f $(DATA)/bin/tutti $(DATA)/include/tutti.h $(DATA)/lib/libtutti.a $(DATA)/lib/libtutti.so* $(DATA)/lib/pkgconfig/tutti.pc
	rm -f $(MAN:%=$(DATA)/share/man/man1/%.1)
	rm -rf $(DATA)/share/doc/tutti

# What was installed, used as a stranger would: tests/library.sh.
STAGE := $(abspath $(B))/stage
.PHONY: run-library run-cxx
run-library: $(B)/tutti $(LIB_SO) $(LIB_A)
	@echo "== library"
	@rm -rf $(STAGE)
	@$(MAKE) --no-print-directory install DESTDIR=$(STAGE) prefix=/usr >$(B)/install.log 2>&1 || { cat $(B)/install.log; exit 1; }
	@CC='$(CC) $(OPT)' RUN='$(RUN)' PKG_CONFIG='$(PKG_CONFIG)' tests/library.sh $(STAGE)
run-cxx:
	@echo "== header as C++17"
	@if echo 'int x;' | $(CC) -x c++ -fsyntax-only - 2>/dev/null; then \
	    $(CC) -x c++ -std=c++17 -pedantic -Wall -Wextra -Werror -fsyntax-only include/tutti.h; \
	else echo "*skipped*: $(CC) has no C++ compiler"; fi
CHECKS += run-library run-cxx
