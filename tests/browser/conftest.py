"""A real headless Chromium with playwright; skipped, with a reason, where either is missing."""

from __future__ import annotations

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium, or CHROMIUM=PATH")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=180_000)
        yield opened
        opened.close()


@pytest.fixture
def watched(browser):
    """Opens a file in a tab of its own; at the end nothing may have been said on its console, or been fetched."""
    contexts, said, fetched = [], [], []

    def open_page(path, before=lambda page: None, **settings):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        contexts.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message) or dialog.dismiss())
        page.on("request", lambda request: fetched.append(request.url))
        before(page)
        page.goto(path.as_uri(), timeout=60_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert all(url.startswith("file:") and url.endswith(".html") for url in fetched)
    assert len(fetched) == len(contexts)
