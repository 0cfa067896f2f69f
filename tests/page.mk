# SPDX-License-Identifier: Apache-2.0
# The pictures of the page in doc/, with a model that says something: make page-shots MODEL=file
.PHONY: page-shots
page-shots: $(B)/tutti ## takes the pictures of the page for doc/ (MODEL=file; Playwright, Chromium)
	TUTTI_BROWSER=$$(command -v chromium) $(PYTHON) tests/e2e/page.py --shots $(MODEL) $<
