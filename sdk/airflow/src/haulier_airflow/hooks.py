"""The connection to a Haulier service."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import BaseHook
from haulier import Haulier, HaulierError, Settings, SettingsError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

PATIENCE = 300.0
"""How long requests that fail on the way are repeated, in seconds: a service may be upgraded meanwhile."""


class HaulierHook(BaseHook):
    """Makes clients of the service that an Airflow connection describes.

    The connection holds the address as its host (`https://haulier.example.com`), the token as its password, and
    perhaps a `project` in its extra.

    :param haulier_conn_id: the connection's id.
    """

    conn_name_attr = "haulier_conn_id"
    default_conn_name = "haulier_default"
    conn_type = "haulier"
    hook_name = "Haulier"

    def __init__(self, haulier_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        """Reads nothing yet."""
        super().__init__(**kwargs)
        self.haulier_conn_id = haulier_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The fields of the connection form beyond the usual ones (Airflow 2)."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import StringField

        return {"project": StringField(lazy_gettext("Project"), widget=BS3TextFieldWidget())}

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """How the usual fields of the connection form are shown (Airflow 2)."""
        return {
            "hidden_fields": ["schema", "login", "port", "extra"],
            "relabeling": {"host": "URL", "password": "Token"},
            "placeholders": {"host": "https://haulier.example.com"},
        }

    def settings(self) -> Settings:
        """What a client needs to know. Asks Airflow."""
        return settings_of(self.get_connection(self.haulier_conn_id))

    async def settings_async(self) -> Settings:
        """What a client needs to know. Asks Airflow without blocking the event loop."""
        return settings_of(await get_async_connection(self.haulier_conn_id))

    def get_conn(self) -> Haulier:
        """A client."""
        return Haulier(settings=self.settings())

    def test_connection(self) -> tuple[bool, str]:
        """Whether the service takes the token, for the button in the connection form."""
        try:
            with self.get_conn() as client:
                caller = client.whoami()
        except HaulierError as error:
            return False, str(error)
        return True, f"Haulier {caller.version}, project {caller.project}, token {caller.name}"


def settings_of(connection: Connection) -> Settings:
    """What a client needs to know, from an Airflow connection.

    :raises SettingsError: address or token are missing or cannot be used.
    """
    host = connection.host or ""
    # Connections that were given as a URI hold the parts of the address apart.
    if host and "://" not in host:
        host = f"{connection.schema or 'https'}://{host}"
        if connection.port:
            host += f":{connection.port}"
    if not host or not connection.password:
        # Never those of the environment, which may be meant for another service.
        raise SettingsError(f"connection {connection.conn_id} lacks URL or token: see Admin, Connections")
    settings = Settings.read(host, connection.password, patience=PATIENCE)
    return replace(settings, project=connection.extra_dejson.get("project") or None)
