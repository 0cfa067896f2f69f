#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/token/template/case.def: the code points whose upper or title case in Python is more than one code point
or differs from utf8proc's simple mapping. Run: python3 tests/oracle/template_case.py > src/token/template/case.def"""
import ctypes

lib = ctypes.CDLL("libutf8proc.so.2")
print("/* SPDX-License-Identifier: Apache-2.0 */")
print("/*\n * Full case mappings (Unicode SpecialCasing.txt) that utf8proc's simple ones lack: code point, upper case,\n"
      " * title case, as UTF-8. Ascending. Written by tests/oracle/template_case.py.\n */")
esc = lambda s: '"' + "".join("\\x%02x" % b for b in s.encode()) + '"'
for c in list(range(0xD800)) + list(range(0xE000, 0x110000)):
    s = chr(c)
    if s.upper() != chr(lib.utf8proc_toupper(c)) or s.title() != chr(lib.utf8proc_totitle(c)):
        print("X(0x%04x, %s, %s)" % (c, esc(s.upper()), esc(s.title())))
