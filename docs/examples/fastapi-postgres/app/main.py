"""A list of books."""

import os
from secrets import compare_digest
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Security
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import Book, session

api_key_header = APIKeyHeader(name="X-Api-Key")


def require_key(key: Annotated[str, Security(api_key_header)]) -> None:
    if not compare_digest(key, os.environ["API_KEY"]):
        raise HTTPException(403, "The API key is not valid.")


app = FastAPI(title="Books", dependencies=[Depends(require_key)])


class BookIn(BaseModel):
    title: str


class BookOut(BookIn):
    model_config = ConfigDict(from_attributes=True)
    id: int


@app.get("/books")
def list_books(db: Annotated[Session, Depends(session)]) -> list[BookOut]:
    newest_first = os.environ["NEWEST_FIRST"] == "true"
    books = db.scalars(select(Book).order_by(Book.id.desc() if newest_first else Book.id))
    return [BookOut.model_validate(book) for book in books]


@app.post("/books", status_code=201)
def add_book(new: BookIn, db: Annotated[Session, Depends(session)]) -> BookOut:
    book = Book(title=new.title)
    db.add(book)
    db.commit()
    return BookOut.model_validate(book)
