"""What a page of the console must never do, noted while a test drives it."""

from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Error, Page, Request, Response

# A violation of the policy is also told to the console as an error, but not every one in every version.
_REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile ?? ""}:${event.lineNumber}`);
});
"""
_AN_ANSWER = "Failed to load resource: the server responded with a status of "
# What a browser gives up when the page is left, and how it says that an answer is a download.
_ABORTED = "net::ERR_ABORTED"


class Watch:
    """Collects errors of scripts, violations of the policy, requests to other hosts, failed requests and answers.

    ``expected`` are statuses of 400 and more that the test provokes.
    """

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.faults: list[str] = []
        self.expected: set[int] = set()
        self._host = urlsplit(url).netloc
        context.add_init_script(_REPORT_VIOLATIONS)
        context.on("page", self._follow)
        context.on("request", self._on_request)
        context.on("requestfailed", self._on_failure)
        context.on("response", self._on_response)

    def _follow(self, page: Page) -> None:
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)

    def _on_console(self, message: ConsoleMessage) -> None:
        # An answer of 400 and more is judged where it arrives.
        if message.type == "error" and not message.text.startswith(_AN_ANSWER):
            self.faults.append(f"{message.type} at {message.location.get('url', '')}: {message.text}")

    def _on_error(self, error: Error) -> None:
        self.faults.append(f"script: {error}")

    def _on_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in {"blob", "data"} and address.netloc != self._host:
            self.faults.append(f"asks another host: {request.url}")

    def _on_failure(self, request: Request) -> None:
        if request.failure != _ABORTED:
            self.faults.append(f"failed: {request.method} {request.url}: {request.failure}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected:
            self.faults.append(f"answered {response.status}: {response.request.method} {response.url}")
