"""What a folder says of its tokenizer beside the vocabulary: options, special tokens, added tokens."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tokenizers import AddedToken, Tokenizer

from diptych.export.errors import ExportError
from diptych.export.tokenizers.folder import Folder

# A family's special tokens by role; an AddedToken also says how it is matched.
Special = Mapping[str, AddedToken | str]
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
# Special tokens that the vocabulary lacks get their ids in this order.
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class Settings:
    """tokenizer_config.json, and special_tokens_map.json and added_tokens.json where it does not list added tokens.

    roles: special tokens by name, None where told to be none. extra: all other special tokens, None where the family's
    own are meant. listed: what special_tokens_map.json adds to these. added: tokens that have ids of their own.
    """

    path: Path
    options: Mapping[str, Any]
    roles: Mapping[str, AddedToken | None]
    extra: tuple[AddedToken, ...] | None
    listed: tuple[AddedToken, ...]
    added: Mapping[int, AddedToken]

    def named(self, defaults: Special) -> dict[str, AddedToken]:
        """The special tokens by role, in the order of their ids; defaults are the family's.

        How a default is matched (stripping spaces, say) also holds for a token that the files give as mere text.
        """
        found: dict[str, AddedToken] = {}
        for role in dict.fromkeys([*ROLES, *self.roles]):
            default = defaults.get(role)
            told = self.roles.get(role, default)
            token = None if told is None else as_token(told, self.path)
            if token is not None and isinstance(default, AddedToken) and isinstance(self.options.get(role), str):
                token = AddedToken(
                    token.content, lstrip=default.lstrip, normalized=default.normalized, special=default.special
                )
            if token is not None:
                found[role] = token
        return found

    def contents(self, named: Mapping[str, AddedToken]) -> set[str]:
        """All special and added tokens, as text."""
        return {token.content for token in [*named.values(), *self.added.values(), *(self.extra or self.listed)]}

    def literal(self, named: Mapping[str, AddedToken]) -> "Settings":
        """Added tokens as SentencePiece's families have them: found in the text as it is, special only if named so."""
        special = replace(self, added={}).contents(named)
        added = {
            number: AddedToken(
                token.content,
                single_word=token.single_word,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                normalized=False,
                special=token.content in special,
            )
            for number, token in self.added.items()
        }
        return replace(self, added=added)

    def add_tokens(
        self,
        tokenizer: Tokenizer,
        named: Mapping[str, AddedToken],
        extra: Iterable[AddedToken | str] = (),
        placed: Mapping[int, AddedToken] = MappingProxyType({}),
    ) -> None:
        """Makes added and special tokens known to a tokenizer, those that its vocabulary lacks with the next free ids.

        extra: the family's own special tokens, where the files name none. placed: tokens with ids of their own that the
        family has. Raises ExportError where a token cannot have the id that it should have.
        """
        more = [as_token(token, self.path) for token in extra] if self.extra is None else self.extra
        tokens: dict[str, AddedToken] = {}
        for token in [*(self.added[number] for number in sorted(self.added)), *placed.values(), *named.values(), *more]:
            tokens.setdefault(token.content, token)
        for token in named.values():
            tokens[token.content].special = True
        ids = {token.content: number for number, token in [*self.added.items(), *placed.items()]}
        if len(set(ids.values())) < len(ids):
            raise ExportError(f"{self.path}: two added tokens have the same id; are all files from one checkpoint?")
        new = [text for text in tokens if tokenizer.token_to_id(text) is None]
        due = {ids[text]: text for text in new if text in ids}
        free = [text for text in new if text not in ids]
        order = [text for text in tokens if text not in new]
        for number in range(size := tokenizer.get_vocab_size(with_added_tokens=False), size + len(new)):
            order.append(due.pop(number) if number in due else free.pop(0) if free else due.pop(min(due)))
        tokenizer.add_tokens([tokens[text] for text in order])
        for text, expected in ids.items():
            found = tokenizer.token_to_id(text)
            if found != expected:
                raise ExportError(
                    f"{self.path}: the added token {text!r} should have the id {expected}, but with this vocabulary it "
                    f"has {found}; are all tokenizer files from one checkpoint?"
                )


def read_settings(folder: Folder) -> Settings:
    """Raises ExportError if a file is damaged."""
    path = folder.path / "tokenizer_config.json"
    options = folder.optional(path.name)
    if options.get("additional_special_tokens") and not options.get("extra_special_tokens"):
        options["extra_special_tokens"] = options.pop("additional_special_tokens")
    declared = options.pop("added_tokens_decoder", None)
    if declared is None:  # Then older files may say more.
        options |= folder.optional("special_tokens_map.json")
    extra, listed = options.pop("extra_special_tokens", None), options.pop("additional_special_tokens", None) or ()
    roles = {
        role: None if value is None else as_token(value, path)
        for role, value in options.items()
        if role in ROLES or (role.endswith("_token") and isinstance(value, (str, dict)))
    }
    if isinstance(extra, dict):  # Named, but not by us.
        roles |= {role: as_token(value, path) for role, value in extra.items()}
        extra = None
    more = None if extra is None else tuple(as_token(token, path) for token in extra)
    special = {token.content for token in [*roles.values(), *(more or ())] if token}
    if declared is None:
        older = folder.ids("added_tokens.json") if folder.has("added_tokens.json") else {}
        declared = {number: AddedToken(text, special=text in special) for text, number in older.items()}
    try:
        added = {int(number): as_token(token, path) for number, token in declared.items()}
    except (AttributeError, ValueError, TypeError) as error:
        raise ExportError(f"{path}: added tokens are {declared!r:.60}, expected tokens by id ({error})") from error
    return Settings(path, options, roles, more, tuple(as_token(token, path) for token in listed), added)


def text_of(named: Mapping[str, AddedToken], role: str) -> str:
    """A special token's text. Raises ExportError if there is none."""
    if role not in named:
        raise ExportError(f"tokenizer_config.json: there is no {role}, which this tokenizer needs; name one")
    return named[role].content


def as_token(value: Any, path: Path) -> AddedToken:
    """A token from text, or from an object that also says how it is matched. Raises ExportError if it is neither."""
    if isinstance(value, AddedToken):
        return value
    if isinstance(value, str):
        return AddedToken(value, special=True)
    try:
        return AddedToken(value["content"], **{flag: value[flag] for flag in FLAGS if flag in value})
    except (KeyError, TypeError) as error:
        raise ExportError(f"{path}: {value!r:.60} is not a token ({error})") from error
