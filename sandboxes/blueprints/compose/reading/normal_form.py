"""Turn the short forms of a Compose file into long ones, so that files merge key by key.

A path of the host becomes absolute here, relative to the folder of its own file. Values that have
only one form are left to the models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sandboxes.blueprints.compose import values
from sandboxes.blueprints.compose.budget import located
from sandboxes.blueprints.compose.findings import Findings, Malformed
from sandboxes.blueprints.compose.reading.env_files import InvalidEnvFile, read_env_file
from sandboxes.blueprints.compose.reading.source_files import SourceFiles
from sandboxes.blueprints.compose.reading.variables import Variables
from sandboxes.blueprints.compose.tree import KeyPath, Map, Place, Removed, Replacing, Seq
from sandboxes.blueprints.compose.verdicts import judge

REMOTE = ("git@", "github.com/", "http://", "https://")
HOME = "~"
RAW = "raw"
"""The format of an `env_file` whose values are taken as they are."""


@dataclass(frozen=True)
class Entry:
    """A key's value, its place and its path."""

    value: Any
    place: Place
    path: KeyPath

    def new_map(self) -> Map:
        """Return an empty mapping at this place."""
        return Map(self.place)

    def new_list(self) -> Seq:
        """Return an empty list at this place."""
        return Seq(self.place)


@dataclass(frozen=True)
class Normalizer:
    """Normalizes one file, whose relative paths start at `folder`."""

    folder: Path
    files: SourceFiles
    variables: Variables
    findings: Findings

    def document(self, tree: Map) -> Map:
        """Return the normal form of a whole file."""
        sections: Mapping[str, Callable[[Map, KeyPath], Map]] = {
            "services": self._service,
            "volumes": partial(judge, findings=self.findings),
            "configs": self._source,
            "secrets": self._source,
        }
        done = tree.copy()
        for name, normalize in sections.items():
            if name in tree:
                entry = Entry(tree[name], tree.places[name], (name,))
                done.put(name, self._section(entry, normalize), tree.places[name])
        return done

    def _section(self, entry: Entry, normalize: Callable[[Map, KeyPath], Map]) -> Any:
        """Return a top-level section whose entries are mappings."""
        found = entry.value.value if isinstance(entry.value, Replacing) else entry.value
        done = entry.new_map()
        if isinstance(found, Removed) or found is None:
            return found or done
        if not isinstance(found, Map):
            self._not_a_mapping(entry)
            return done
        for key, value, place in found.entries():
            own = (*entry.path, key)
            if isinstance(value, Replacing) and isinstance(value.value, Map):
                done.put(key, Replacing(normalize(value.value, own)), place)
            elif isinstance(value, Map):
                done.put(key, normalize(value, own), place)
            elif isinstance(value, Removed):
                done.put(key, value, place)
            elif value is None and entry.path != ("services",):
                done.put(key, Map(place), place)
            else:
                self._not_a_mapping(Entry(value, place, own))
        return done

    def _not_a_mapping(self, entry: Entry) -> None:
        message, remedy = "This must be a mapping of keys to values.", "Write KEY: VALUE lines."
        self.findings.problem(entry.place, entry.path, message, remedy)

    def _source(self, source: Map, _: KeyPath) -> Map:
        """Return a config or a secret, with the path of its file."""
        done = source.copy()
        if isinstance(file := source.get("file"), str):
            done.put("file", str(self.folder / file), source.places["file"])
        return done

    def _service(self, service: Map, path: KeyPath) -> Map:
        done = Map(service.place)
        for name, value, place in judge(service, path, self.findings).entries():
            entry = Entry(value, place, (*path, name))
            try:
                with located(place, entry.path):
                    done.put(name, self._value(name, entry), place)
            except Malformed as error:
                self.findings.malformed(place, entry.path, error)
        return done

    def _value(self, name: str, entry: Entry) -> Any:
        """Return the normal form of one key of a service; tags are kept."""
        if isinstance(entry.value, Replacing):
            return Replacing(self._value(name, replace(entry, value=entry.value.value)))
        normalize = NORMALIZERS.get(name)
        if normalize is None or entry.value is None or isinstance(entry.value, Removed):
            return entry.value
        return normalize(self, entry)

    def each(
        self, entry: Entry, convert: Callable[[Any], Any] = values.text_of
    ) -> Iterator[tuple[Any, Place]]:
        """Yield the converted items of a list, or a single one; report malformed ones."""
        for index, (item, place) in enumerate(_items(entry)):
            try:
                yield convert(item), place
            except InvalidEnvFile as error:
                self.findings.malformed(error.place or place, (*entry.path, index), error)
            except Malformed as error:
                self.findings.malformed(place, (*entry.path, index), error)

    # --- keys of a service ---------------------------------------------------------------------

    def variables_of(self, entry: Entry) -> Map:
        """Return a mapping of names to text, or to None for a name without a value."""
        found = entry.new_map()
        if not isinstance(entry.value, Map):
            for (name, text), place in self.each(entry, _assignment):
                if name:
                    found.put(name, text, place)
            return found
        for name, value, place in entry.value.entries():
            try:
                tagged = value is None or isinstance(value, Removed | Replacing)
                found.put(name, value if tagged else values.text_of(value), place)
            except Malformed as error:
                self.findings.malformed(place, (*entry.path, name), error)
        return found

    def command(self, entry: Entry) -> Seq:
        """Return the words of a command."""
        found = entry.new_list()
        if not entry.value:
            message = "An empty value has no effect: the image's own applies."
            self.findings.note(entry.place, entry.path, message)
        for word in values.words(entry.value):
            found.add(word)
        return found

    def texts(self, entry: Entry) -> Seq:
        """Return a list of texts."""
        found = entry.new_list()
        for text, place in self.each(entry):
            found.add(text, place)
        return found

    def ports(self, entry: Entry) -> Seq:
        """Return the ports inside the container, each once."""
        found = entry.new_list()
        known = set()
        for listed, place in self.each(entry, _ports):
            for port, protocol in listed:
                if (port, protocol) in known:
                    continue
                known.add((port, protocol))
                item = Map(place)
                item.put("target", port)
                item.put("protocol", protocol)
                found.add(item, place)
        return found

    def volumes(self, entry: Entry) -> Seq:
        """Return the long forms of mounts, with absolute paths of the host."""
        found = entry.new_list()
        for mount, place in self.each(entry, partial(_mount, place=entry.place)):
            source = mount.get("source")
            if mount.get("type") == "bind" and isinstance(source, str):
                home = source.startswith(HOME)
                mount.put("source", source if home else str(self.folder / source), place)
            found.add(mount, place)
        return found

    def names(self, entry: Entry) -> Map:
        """Return a mapping of names to options, from one or from a list of names."""
        found = entry.new_map()
        if not isinstance(entry.value, Map):
            for name, place in self.each(entry):
                found.put(name, Map(place), place)
            return found
        for name, options, place in entry.value.entries():
            known = isinstance(options, Map | Removed | Replacing)
            found.put(name, options if known else Map(place), place)
        return found

    def build(self, entry: Entry) -> Map:
        """Return the long form of a build, with the absolute path of its context."""
        if isinstance(entry.value, Map):
            build = judge(entry.value, entry.path, self.findings)
        else:
            build = entry.new_map()
            build.put("context", entry.value)
        place = build.places.get("context", entry.place)
        context = values.text_of(build.get("context") or ".")
        if context.startswith(REMOTE) or "://" in context or context.endswith(".git"):
            message = "Images are built from folders of the blueprint only."
            remedy = "Copy the sources into the blueprint's folder, and name that folder."
            self.findings.problem(place, (*entry.path, "context"), message, remedy)
            context = "."
        build.put("context", str(self.folder / context), place)
        if build.get("args") is not None:
            arguments = Entry(build["args"], build.places["args"], (*entry.path, "args"))
            build.put("args", self.variables_of(arguments), arguments.place)
        return build

    def env_files(self, entry: Entry) -> Seq:
        """Return the variables of all files, one mapping for each."""
        found = entry.new_list()
        for variables, place in self.each(entry, partial(self._read_env_file, entry)):
            found.add(variables, place)
        return found

    def _read_env_file(self, entry: Entry, item: Any) -> Map:
        options = item if isinstance(item, Map) else {"path": item}
        name = values.text_of(options.get("path"))
        if not name:
            raise Malformed("The path is missing.", "Name a file with variables.")
        file = self.files.resolve(self.folder / name)
        found = entry.new_map()
        if not file.exists():
            if options.get("required") not in (False, "false"):
                message = f"The file {name} doesn't exist, so its variables are missing."
                self.findings.note(entry.place, entry.path, message)
            return found
        form = options.get("format")
        if form not in (None, RAW):
            raise Malformed("Unknown format of a file.", "Write `format: raw`, or leave it out.")
        text = self.files.text(file)
        try:
            for variable, content in read_env_file(text, self.variables, raw=form == RAW).items():
                found.put(variable, content)
        except InvalidEnvFile as error:
            error.place = Place(file, error.line)
            raise
        return found

    def health_check(self, entry: Entry) -> Any:
        """Return a health check whose test is a list."""
        if not isinstance(entry.value, Map):
            raise Malformed("This must be a mapping of keys to values.", "Add the key `test`.")
        test = entry.value.get("test")
        if test is None or isinstance(test, Replacing | Removed):
            return entry.value
        own = Entry(test, entry.value.places["test"], (*entry.path, "test"))
        found = own.new_list()
        if not isinstance(test, Seq):
            found.add("CMD-SHELL")
        for word, place in self.each(own):
            found.add(word, place)
        done = entry.value.copy()
        done.put("test", found, own.place)
        return done

    def uses(self, entry: Entry) -> Seq:
        """Return the long forms of uses of configs or secrets."""
        found = entry.new_list()
        for use, place in self.each(entry, partial(_use, place=entry.place)):
            found.add(use, place)
        return found

    def ulimits(self, entry: Entry) -> Any:
        """Return limits with soft and hard values."""
        if not isinstance(entry.value, Map):
            return entry.value
        done = entry.new_map()
        for name, limit, place in entry.value.entries():
            both = limit
            if not isinstance(limit, Map | Removed | Replacing):
                both = Map(place)
                both.put("soft", limit)
                both.put("hard", limit)
            done.put(name, both, place)
        return done

    def deploy(self, entry: Entry) -> Any:
        """Return the part of `deploy` that has an effect."""
        known = isinstance(entry.value, Map)
        return judge(entry.value, entry.path, self.findings) if known else entry.value

    def extends(self, entry: Entry) -> Map:
        """Return the extended service, with the absolute path of its file."""
        if not isinstance(entry.value, Map):
            found = entry.new_map()
            found.put("service", values.text_of(entry.value))
            return found
        return self._source(entry.value, entry.path)


NORMALIZERS: Mapping[str, Callable[[Normalizer, Entry], Any]] = {
    "build": Normalizer.build,
    "command": Normalizer.command,
    "entrypoint": Normalizer.command,
    "environment": Normalizer.variables_of,
    "env_file": Normalizer.env_files,
    "ports": Normalizer.ports,
    "volumes": Normalizer.volumes,
    "volumes_from": Normalizer.texts,
    "tmpfs": Normalizer.texts,
    "depends_on": Normalizer.names,
    "networks": Normalizer.names,
    "healthcheck": Normalizer.health_check,
    "configs": Normalizer.uses,
    "secrets": Normalizer.uses,
    "links": Normalizer.texts,
    "profiles": Normalizer.texts,
    "ulimits": Normalizer.ulimits,
    "deploy": Normalizer.deploy,
    "extends": Normalizer.extends,
}
"""By key of a service. Other keys have only one form."""


def _items(entry: Entry) -> Iterator[tuple[Any, Place]]:
    """Yield the items of a list without tags, or a single value."""
    if isinstance(entry.value, Map):
        raise Malformed("This must be a list.", "Write a list.")
    if not isinstance(entry.value, Seq):
        yield entry.value, entry.place
        return
    for item, place in entry.value.entries():
        if not isinstance(item, Removed):
            yield item.value if isinstance(item, Replacing) else item, place


def _assignment(item: Any) -> tuple[str, str | None]:
    """Return name and value of `NAME=value`; an empty text, of an unset variable, has neither."""
    name, separator, text = values.text_of(item).partition("=")
    if separator and not name.strip():
        raise Malformed("This has a value, but no name.", "Write NAME=value.")
    return name.strip(), text if separator else None


def _ports(item: Any) -> list[tuple[int, str]]:
    """Return the ports of an entry in any form, with their protocols."""
    if not isinstance(item, Map):
        return list(values.ports(item))
    protocol = values.text_of(item.get("protocol") or "tcp").lower()
    return [(port, protocol) for port, _ in values.ports(item.get("target"))]


def _mount(item: Any, place: Place) -> Map:
    """Return the long form of a mount."""
    if isinstance(item, Map):
        return item.copy()
    source, target, read_only = values.mount(values.text_of(item))
    mount = Map(place)
    mount.put("type", "bind" if source.startswith((".", "/", HOME)) else "volume")
    mount.put("source", source)
    mount.put("target", target)
    mount.put("read_only", read_only)
    return mount


def _use(item: Any, place: Place) -> Map:
    """Return the long form of a use of a config or secret."""
    if isinstance(item, Map):
        return item
    use = Map(place)
    use.put("source", values.text_of(item))
    return use
