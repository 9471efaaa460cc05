from .galleries import open_gallery as open_gallery
from .gallery.base import Gallery as Gallery
from .gallery.entries import Camera as Camera
from .gallery.entries import Entry as Entry
from .gallery.filters import Filters as Filters
from .query.feedback import Feedback as Feedback
from .query.searcher import Query as Query
from .query.searcher import Searcher as Searcher
