# SPDX-License-Identifier: Apache-2.0
"""plan_page.py PAGE [PICTURE]: opens the page of `tutti plan --html`; with PICTURE takes one of the upper part."""
import os
import sys
from playwright.sync_api import sync_playwright

faults = []


def check(true, what):
    if not true:
        faults.append(what)


with sync_playwright() as p:
    browser = p.chromium.launch(executable_path=os.environ["TUTTI_BROWSER"], args=["--no-sandbox"])
    for scheme, width in (("light", 1180), ("dark", 390)):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        asked, said = [], []
        page.on("request", lambda r: asked.append(r.url))
        page.on("console", lambda m: said.append(m.text))
        page.goto("file://" + os.path.abspath(sys.argv[1]))
        check(len(asked) == 1, f"the page asked for {asked}")
        check(not said, f"the browser says {said}")
        charts = page.locator("svg")
        check(charts.count() >= 7, f"{charts.count()} charts")
        for i in range(charts.count()):
            box = charts.nth(i).bounding_box()
            check(box["width"] > 200 and box["height"] > 60, f"chart {i} is {box}")
            check("nan" not in charts.nth(i).inner_html().lower().replace("tenant", ""), f"chart {i} holds what is no number")
        check(page.locator("tr.b").count() == 1, "no first plan")
        check(page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1"), f"wider than {width}")
        if len(sys.argv) > 2 and scheme == "light":
            page.screenshot(path=sys.argv[2], full_page=True, clip={"x": 0, "y": 0, "width": 1180, "height": 2500})
    browser.close()
for f in faults:
    print("plan_page:", f)
sys.exit(bool(faults))
