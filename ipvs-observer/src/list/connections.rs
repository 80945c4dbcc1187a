//! Streams the connections, however many there are.

use std::{io, io::Write};

use super::{ListError, naming, warning::Warning};
use crate::{
    ipvs::{
        netlink::NetlinkError,
        procfs::{ProcfsError, connections::ConnectionFile},
    },
    kernel::Kernel,
    output::list::{self as format, Names},
};

/// The connections; of one reading nothing is kept for the next.
pub(super) struct Connections {
    engines: bool,
    numeric: bool,
    unresolved: Warning,
}

impl Connections {
    pub(super) fn new(engines: bool, numeric: bool) -> Self {
        Self {
            engines,
            numeric,
            unresolved: Warning::default(),
        }
    }

    pub(super) fn print(&mut self, out: &mut impl Write) -> Result<(), ListError> {
        let mut names = (!self.numeric).then(|| Names::new(naming::PATIENCE));
        let mut rows = Kernel::at("/")
            .connections(ConnectionFile::Conn)
            .map_err(not_read)?;
        let mut page = format::Connections::start(out, self.engines, names.as_mut())?;
        while let Some(connection) = rows.advance().map_err(not_read)? {
            page.push(&connection)?;
        }
        page.finish()?;
        if let Some(names) = &names {
            self.unresolved.tell(naming::unresolved(names));
        }
        Ok(())
    }
}

/// The file is there as long as the module is.
fn not_read(error: ProcfsError) -> ListError {
    if let ProcfsError::Read { source, .. } = &error
        && source.kind() == io::ErrorKind::NotFound
    {
        return ListError::Run(NetlinkError::NotLoaded.into());
    }
    ListError::Run(error.into())
}
