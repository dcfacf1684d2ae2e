// What the pages need beyond htmx. No inline script anywhere: the Content-Security-Policy forbids it.
"use strict";
