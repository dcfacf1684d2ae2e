"""Passwords that everybody tries first, by rules: known words and keyboard runs, padded with digits and signs."""

from itertools import takewhile

# The stems of the lists of leaked passwords, and what a stranger knows of this place.
_WORD_LIST = """
abc access account admin administrator adobe alexander amanda america andrea angel apple august autumn bailey
barcelona baseball basketball batman blink buster changeme charlie chelsea chocolate clinic computer console
cookie correct dallas daniel december default demo diamond dicom doctor donald dragon
dreams eagle family february flower football forever freedom friday friend friends george ginger google guest
hannah harley hello help heslo hockey home hospital hunter iloveyou internet jackson january jennifer jessica
jesus jordan july june killer klinik knight krankenhaus letmein liverpool login lovely love lovers manager march
maggie master matrix matthew medfake medical merlin michael michelle mickey monday monkey moonlight morgan
mother motdepasse mustang my nicole ninja november nurse october online operator orange orthanc pacs parola
pass passwd password passphrase passwort pepper phoenix please pokemon princess purple qazwsx qwerty qwertz
rabbit radiology radiologist radiologie ranger robert root samantha samsung saturday scooter secret security
senha september server service shadow silver simpsons soccer spring start starwars summer sunday sunshine super
superman support sweet system team temp temporary test testing the thomas thursday thunder tigger tuesday
trustno unknown user vanilla viewer wednesday welcome welcomeback whatever william wilkommen willkommen winter
wizard xray yankees you zaq your is mypassword i
"""
_WORDS = tuple(_WORD_LIST.split())
_RUNS = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "qwertzuiop", "asdfghjkl", "zxcvbnm", "yxcvbnm")
_SHORTEST_RUN = 3
_LONGEST_PERIOD = 4
_LONGEST_NUMBER = 4
_LEET = str.maketrans("0134578@$!|+", "oieastbasiit")


def is_common(password: str, user_name: str = "") -> bool:
    """Tell whether a password is made of nothing but common words, the account's name, runs and short numbers."""
    plain = password.lower()
    name = user_name.lower()
    names = (part for part in (name, *_parts(name)) if len(part) >= _SHORTEST_RUN)
    return _is_periodic(plain) or _is_made_of(plain, (*names, *_WORDS))


def _parts(name: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in name).split()


def _is_periodic(text: str) -> bool:
    """Tell whether up to four signs are repeated over and over."""
    return any(text == (text[:n] * len(text))[: len(text)] for n in range(1, _LONGEST_PERIOD + 1))


def _is_made_of(text: str, words: tuple[str, ...]) -> bool:
    """Tell whether ``text`` can be cut into pieces that are each easy to guess."""
    reachable = {0}
    for start in range(len(text)):
        if start in reachable:
            reachable |= {start + length for length in _pieces(text, start, words)}
    return len(text) in reachable


def _pieces(text: str, start: int, words: tuple[str, ...]) -> set[int]:
    """Return the lengths of what may begin at ``start``: a word, a run, a short number, a sign."""
    readable = text.translate(_LEET)
    lengths = {len(word) for word in words if text.startswith(word, start) or readable.startswith(word, start)}
    lengths.update(range(_SHORTEST_RUN, _run_length(text, start) + 1))
    end = start
    while end < len(text) and text[end].isdigit():
        end += 1
    after_digit = start > 0 and text[start - 1].isdigit()
    if 0 < end - start <= _LONGEST_NUMBER and not after_digit:
        lengths.add(end - start)
    if not text[start].isalnum():
        lengths.add(1)
    return lengths


def _run_length(text: str, start: int) -> int:
    """Return how many signs from ``start`` on follow one another on the keyboard, in the alphabet, or are the same."""
    rest = text[start:]
    longest = len(rest) - len(rest.lstrip(rest[0]))
    for row in (*_RUNS, *(row[::-1] for row in _RUNS)):
        at = row.find(rest[0])
        following = row[at:] if at >= 0 else ""
        same = zip(rest, following, strict=False)
        longest = max(longest, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], same)))
    return longest
