//! What host and worker say to each other, as bytes.
//!
//! The host takes the worker for hostile, so decoding is parsing: every length is bounded before anything
//! is set aside for it, every name, kind, id and time goes through its type's constructor, and a message
//! with bytes left over is refused. All numbers are little-endian. There is no version: host and worker
//! are the same program (see [`crate::wire::message::BUILD_ID`]).

mod error;
pub(crate) mod info;
pub(crate) mod message;
mod metadata;
pub(crate) mod nodes;

pub(crate) use message::{
    BUILD_ID, Extents, Hello, KnownFile, Opening, Packet, ParentQuestion, Request, Start, Status,
};

/// Bytes of one text (an error's message, an id, a note). Longer ones are cut when they are sent.
pub(crate) const TEXT_BYTES_MAX: usize = 4096;

/// Why bytes are no message. The other side is broken or hostile: there is nothing to save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

pub(crate) type Decoded<T> = Result<T, Malformed>;

/// What can be said.
pub(crate) trait Wire: Sized {
    /// Appends `self`.
    fn encode(&self, out: &mut Encoder);
    /// Takes one off the front.
    fn decode(from: &mut Decoder<'_>) -> Decoded<Self>;

    /// `self` alone, as bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        self.encode(&mut out);
        out.bytes
    }

    /// Takes a whole message.
    fn from_bytes(bytes: &[u8]) -> Decoded<Self> {
        whole(bytes, Self::decode)
    }
}

/// Parses a whole message.
pub(crate) fn whole<T>(bytes: &[u8], parse: impl FnOnce(&mut Decoder<'_>) -> Decoded<T>) -> Decoded<T> {
    let mut from = Decoder { rest: bytes };
    let value = parse(&mut from)?;
    if from.rest.is_empty() { Ok(value) } else { Err(Malformed("bytes left over")) }
}

/// Collects bytes.
#[derive(Default)]
pub(crate) struct Encoder {
    pub(crate) bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) fn put<T: Wire>(&mut self, value: &T) {
        value.encode(self);
    }

    /// A length and so many bytes.
    pub(crate) fn blob(&mut self, bytes: &[u8]) {
        self.put(&u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(bytes);
    }

    /// A text, cut to [`TEXT_BYTES_MAX`].
    pub(crate) fn text(&mut self, text: &str) {
        self.blob(prefix(text, TEXT_BYTES_MAX).as_bytes());
    }

    /// A count and so many values.
    pub(crate) fn list<T: Wire>(&mut self, values: &[T]) {
        self.put(&u32::try_from(values.len()).unwrap_or(u32::MAX));
        values.iter().for_each(|value| value.encode(self));
    }
}

/// The longest prefix of `text` of at most `max` bytes.
fn prefix(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Takes values off the front of bytes.
pub(crate) struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(crate) fn get<T: Wire>(&mut self) -> Decoded<T> {
        T::decode(self)
    }

    fn take(&mut self, len: usize) -> Decoded<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed("ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// A length of at most `max` and so many bytes.
    pub(crate) fn blob(&mut self, max: usize) -> Decoded<&'a [u8]> {
        let len = self.len(max)?;
        self.take(len)
    }

    pub(crate) fn text(&mut self) -> Decoded<String> {
        let bytes = self.blob(TEXT_BYTES_MAX)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Malformed("a text that is not UTF-8"))
    }

    /// A count of at most `max` and so many values. Memory is set aside only for what can be there: every
    /// value takes at least a byte.
    pub(crate) fn list<T: Wire>(&mut self, max: usize) -> Decoded<Vec<T>> {
        let count = self.len(max)?;
        if count > self.rest.len() {
            return Err(Malformed("a count of more values than there are bytes"));
        }
        (0..count).map(|_| self.get()).collect()
    }

    fn len(&mut self, max: usize) -> Decoded<usize> {
        match usize::try_from(self.get::<u32>()?) {
            Ok(len) if len <= max => Ok(len),
            _ => Err(Malformed("a length over its limit")),
        }
    }
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Wire for $type {
            fn encode(&self, out: &mut Encoder) {
                out.bytes.extend_from_slice(&self.to_le_bytes());
            }
            fn decode(from: &mut Decoder<'_>) -> Decoded<$type> {
                let bytes = from.take(size_of::<$type>())?;
                Ok(<$type>::from_le_bytes(bytes.try_into().map_err(|_| Malformed("ends early"))?))
            }
        }
    )*};
}

numbers! { u8 u16 u32 u64 i64 }

impl Wire for bool {
    fn encode(&self, out: &mut Encoder) {
        out.put(&u8::from(*self));
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<bool> {
        match from.get::<u8>()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("neither yes nor no")),
        }
    }
}

impl<T: Wire> Wire for Option<T> {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.is_some());
        if let Some(value) = self {
            out.put(value);
        }
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Option<T>> {
        if from.get()? { from.get().map(Some) } else { Ok(None) }
    }
}

impl Wire for String {
    fn encode(&self, out: &mut Encoder) {
        out.text(self);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<String> {
        from.text()
    }
}

/// The position of `value` in `all`, as a byte.
fn encode_choice<T: PartialEq>(value: &T, all: &[T], out: &mut Encoder) {
    let index = all.iter().position(|each| each == value).and_then(|index| u8::try_from(index).ok());
    out.put(&index.unwrap_or(u8::MAX));
}

fn decode_choice<T: Copy>(all: &[T], from: &mut Decoder<'_>) -> Decoded<T> {
    let index = from.get::<u8>()?;
    all.get(usize::from(index)).copied().ok_or(Malformed("an unknown kind"))
}

#[cfg(test)]
mod tests;
