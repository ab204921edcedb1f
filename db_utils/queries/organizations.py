"""Organizations (the tenants) and their locations."""

from __future__ import annotations

import datetime as dt
import logging

from db_utils.errors import NotFoundError
from db_utils.queries.arguments import (
    Id,
    Metadata,
    Number,
    metadata_of,
    optional_number,
    optional_text,
    optional_time,
    optional_uuid,
    optional_word,
    text_of,
    word_of,
)
from db_utils.queries.codes import checked_code
from db_utils.queries.loader import query
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid, text_key
from db_utils.values import Row

_log = logging.getLogger("db_utils.queries")

LOCATION_TYPES = (
    "factory",
    "warehouse",
    "distribution_center",
    "depot",
    "station",
    "stop",
    "line",
    "store",
    "office",
    "region",
)
"""Known location types; others may be used."""


class OrganizationQueries(QueryRunner):
    """Organizations and locations."""

    def create_organization(
        self,
        name: str,
        *,
        industry: str,
        timezone: str = "UTC",
        settings: Metadata | None = None,
        organization_id: Id | None = None,
    ) -> Row:
        """Create an organization and return its row.

        `timezone` is an IANA name (Europe/Paris): days and months are counted in it. For the operator only: a
        tenant scope may not call it (`PermissionDeniedError`). Returns the row: `organization_id`, `name`,
        `industry`, `timezone`, `settings` (dict), `created_at`, `updated_at`. Raises `UniqueViolationError`
        if the id is taken, `CheckViolationError` for a time zone that PostgreSQL does not know. Two
        organizations may have the same name; the second is logged as a warning, and commands then require the
        id.
        """
        called = text_of(name, "name")
        created = self._create(
            "create_organization",
            {
                "organization_id": optional_uuid(organization_id, "organization_id"),
                "name": called,
                "industry": text_of(industry, "industry"),
                "timezone": text_of(timezone, "timezone"),
                "settings": metadata_of(settings, "settings"),
            },
        )
        named = self._db.execute_query(
            query("find_organizations_named").sql, {"names": _spellings(called)}, primary=True
        )
        if twins := [
            str(row["organization_id"])
            for row in named
            if row["organization_id"] != created["organization_id"]
        ]:
            _log.warning(
                "organization %s has the same name %r as %s: commands need its id; get_or_create_organization returns an existing one",
                created["organization_id"],
                called,
                ", ".join(twins),
            )
        return created

    def get_or_create_organization(
        self, name: str, *, industry: str, timezone: str = "UTC", settings: Metadata | None = None
    ) -> Row:
        """Return the organization with this name, creating it if it does not exist.

        An existing one is left unchanged. For the operator only, as `create_organization`, whose row it
        returns. Raises `NotFoundError` if several have the name: use the id.
        """
        called = text_of(name, "name")

        def create(queries: OrganizationQueries) -> Row:
            return queries.create_organization(
                called, industry=industry, timezone=timezone, settings=settings
            )

        self._check_arguments(create)
        with self._db.transaction() as transaction:
            transaction.execute_query(query("lock_organization_name").sql, {"name": text_key(called)})
            named = transaction.execute_query(
                query("find_organizations_named").sql, {"names": _spellings(called)}
            )
            if len(named) > 1:
                ids = ", ".join(str(row["organization_id"]) for row in named)
                raise NotFoundError(
                    f"{len(named)} organizations are named {called!r}: use the id of one ({ids})"
                )
            if named:
                return named[0]
            return create(self._on(transaction))

    def get_organizations(self, *, industry: str | None = None) -> list[Row]:
        """Which organizations exist?

        Rows by name: `organization_id`, `name`, `industry`, `timezone`, `settings` (dict), `created_at`,
        `updated_at`. In a tenant scope, only its own. Empty: none, or none of this `industry`.
        """
        return self._answer("get_organizations", {"industry": optional_text(industry, "industry")})

    def get_organization(self, organization_id: Id) -> Row:
        """Which organization has this id?

        One row: `organization_id`, `name`, `industry`, `timezone`, `settings` (dict), `created_at`,
        `updated_at`. Raises `NotFoundError` if it does not exist.
        """
        organization = parse_uuid(organization_id, "organization_id")
        rows = self._db.execute_query(query("get_organization").sql, {"organization_id": organization})
        if not rows:
            raise NotFoundError(
                f"organization {organization} does not exist: get_organizations() lists those that do"
            )
        return rows[0]

    def create_location(
        self,
        organization_id: Id,
        name: str,
        *,
        location_type: str,
        timezone: str,
        address: str | None = None,
        latitude_degrees: Number | None = None,
        longitude_degrees: Number | None = None,
        metadata: Metadata | None = None,
        location_code: str | None = None,
        location_id: Id | None = None,
    ) -> Row:
        """Create a location and return its row.

        `location_type` is factory, warehouse, distribution_center, depot, station, stop, line, store, office,
        region, or a custom word; `timezone` an IANA name: shifts, local days and demand buckets of the
        location are counted in it. Latitude and longitude are WGS 84; `location_code` is the customer's own
        code, accepted wherever its id is. Returns the row: `location_id`, `location_code`, `name`,
        `location_type`, `timezone`, `address`, `latitude_degrees`, `longitude_degrees`, `metadata` (dict),
        `created_at`, `updated_at`. Raises `UniqueViolationError` where the organization has a location of
        this name or code, `NotFoundError` for an unknown organization.
        """
        return self._create(
            "create_location",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                "location_code": checked_code(location_code, "location_code"),
                "name": text_of(name, "name"),
                "location_type": word_of(location_type, "location_type", LOCATION_TYPES),
                "timezone": text_of(timezone, "timezone"),
                "address": optional_text(address, "address"),
                "latitude_degrees": optional_number(latitude_degrees, "latitude_degrees"),
                "longitude_degrees": optional_number(longitude_degrees, "longitude_degrees"),
                "metadata": metadata_of(metadata, "metadata"),
            },
        )

    def get_or_create_location(
        self,
        organization_id: Id,
        location_code: str,
        *,
        location_type: str,
        timezone: str,
        name: str | None = None,
        address: str | None = None,
        latitude_degrees: Number | None = None,
        longitude_degrees: Number | None = None,
        metadata: Metadata | None = None,
    ) -> Row:
        """Return the location with this code, creating it if it does not exist.

        An existing one with this code or name is left unchanged. `name` defaults to the code. Arguments, row
        and errors as in `create_location`.
        """
        return self._get_or_create(
            organization_id,
            "location_id",
            location_code,
            lambda q, found: q.get_locations(organization_id, location_id=found),
            lambda q, code: q.create_location(
                organization_id,
                code if name is None else name,
                location_type=location_type,
                timezone=timezone,
                address=address,
                latitude_degrees=latitude_degrees,
                longitude_degrees=longitude_degrees,
                metadata=metadata,
                location_code=code,
            ),
        )

    def get_locations(
        self, organization_id: Id, *, location_id: Id | None = None, location_type: str | None = None
    ) -> list[Row]:
        """Which locations does the organization have?

        Rows by name: `location_id`, `location_code` (None if it has none), `name`, `location_type`,
        `timezone` (IANA), `address`, `latitude_degrees`, `longitude_degrees`, `metadata` (dict),
        `created_at`, `updated_at`. Empty: none of these.
        """
        return self._read(
            "get_locations",
            parse_uuid(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                "location_type": optional_word(location_type, "location_type", LOCATION_TYPES),
            },
        )

    def set_location_code(self, organization_id: Id, location_id: Id, *, location_code: str | None) -> Row:
        """Set or remove the code of a location and return the row.

        The location can be named by it from then on; None removes the code. Returns the row as
        `get_locations` does. Raises `NotFoundError` where the organization has no such location,
        `UniqueViolationError` where another has the code.
        """
        return self._change_one(
            "set_location_code",
            "location",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "location_id": parse_uuid(location_id, "location_id"),
                "location_code": checked_code(location_code, "location_code"),
            },
            ("location_id",),
        )

    def set_location_timezone(
        self,
        organization_id: Id,
        location_id: Id,
        *,
        timezone: str,
        effective_at: dt.datetime | None = None,
    ) -> Row:
        """Set a location's time zone, from now on or from a given time, and return its row.

        From `effective_at` on (aware, not in the future; default now); earlier days keep their zone. Returns
        the row as `get_locations` does. Raises `CheckViolationError` for a zone that the database does not
        know, `InvalidDataError` for a time in the future, `NotFoundError` for an unknown location.
        """
        return self._change_one(
            "set_location_timezone",
            "location",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "location_id": parse_uuid(location_id, "location_id"),
                "timezone": text_of(timezone, "timezone"),
                "effective_at": optional_time(effective_at, "effective_at"),
            },
            ("location_id",),
        )

    def correct_location_history(
        self,
        organization_id: Id,
        location_id: Id,
        *,
        timezone: str,
        start: dt.datetime | None,
        end: dt.datetime,
    ) -> list[Row]:
        """Correct the time zone of a location in a past period and return its history.

        It was `timezone` from `start` (None: from the beginning) until before `end`, which is not in the
        future; the present stays. Returns the rows of `get_location_history`. Raises as
        `set_location_timezone` does.
        """
        return self._correct_history(
            "correct_location_history",
            parse_uuid(organization_id, "organization_id"),
            parse_uuid(location_id, "location_id"),
            {"timezone": text_of(timezone, "timezone")},
            start,
            end,
        )

    def get_location_history(self, organization_id: Id, location_id: Id) -> list[Row]:
        """Which time zone did a location have, and when?

        Rows, oldest first, each beginning where the one before ends: `valid_from` (UTC; None: from the
        beginning), `valid_to` (not included; None: until now), `timezone` (IANA), `recorded_at` (when it was
        recorded or last corrected). Empty: no such location.
        """
        return self._read(
            "get_location_history",
            parse_uuid(organization_id, "organization_id"),
            {"location_id": parse_uuid(location_id, "location_id")},
        )


def _spellings(name: str) -> list[str]:
    return sorted({name, text_key(name)})
