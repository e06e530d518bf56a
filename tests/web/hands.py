"""How a person works with a page: with a mouse or a finger, or with nothing but the keyboard. One way can be gone with each."""

from dataclasses import dataclass
from typing import Protocol

from playwright.sync_api import Locator, Page, expect
from tests.web.accessible import focus_unseen

_STOPS_MAX = 400


class Hands(Protocol):
    def arrive(self) -> None:
        """A new page is there."""

    def type(self, field: Locator, text: str) -> None:
        """Puts a text in the place of what stands in a field."""

    def press(self, control: Locator) -> None:
        """A link, a button, a switch, what unfolds something."""

    def keeps(self, control: Locator) -> None:
        """After what was done, one can go on from this control."""


@dataclass
class Mouse:
    page: Page

    def arrive(self) -> None:
        pass

    def type(self, field: Locator, text: str) -> None:
        field.fill(text)

    def press(self, control: Locator) -> None:
        control.click()

    def keeps(self, control: Locator) -> None:
        expect(control).to_be_visible()


@dataclass
class Keyboard:
    """Tab, Enter, Space and letters. At every stop the focus has to be seen."""

    page: Page

    def __post_init__(self) -> None:
        self.page.emulate_media(reduced_motion="reduce")  # the focus is looked at as soon as it is there

    def arrive(self) -> None:
        """Past the navigation, by the link that is there for it."""
        self.page.keyboard.press("Tab")
        expect(self.page.get_by_role("link", name="Skip to the content")).to_be_focused()
        assert focus_unseen(self.page) == []
        self.page.keyboard.press("Enter")
        expect(self.page.locator("main")).to_be_focused()

    def type(self, field: Locator, text: str) -> None:
        self._reach(field)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def press(self, control: Locator) -> None:
        self._reach(control)
        is_link = control.evaluate("(e) => e.tagName === 'A'")
        self.page.keyboard.press("Enter" if is_link else "Space")

    def keeps(self, control: Locator) -> None:
        expect(control).to_be_focused()

    def _reach(self, wanted: Locator) -> None:
        expect(wanted).to_be_visible()
        for _ in range(_STOPS_MAX):
            if wanted.evaluate("(e) => e === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
            if not self.page.evaluate("() => [document.body, null].includes(document.activeElement)"):  # around once
                told = focus_unseen(self.page)
                assert not told, told
        raise AssertionError(f"the focus never came to {wanted}")
