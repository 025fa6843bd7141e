"""Create the table of books, with a few of them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    books = op.create_table(
        "books",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("title", sa.String, nullable=False),
    )
    titles = ("The Dispossessed", "Solaris", "Kindred")
    op.bulk_insert(books, [{"title": title} for title in titles])


def downgrade() -> None:
    op.drop_table("books")
