//! Streams the connections, however many there are.

use std::{io, io::Write};

use super::{ListError, naming};
use crate::{
    config::{List, Subject},
    ipvs::{
        netlink::NetlinkError,
        procfs::{ProcfsError, connections::ConnectionFile},
    },
    kernel::Kernel,
    output::list::{Connections, Names},
};

pub(super) fn print(config: &List, out: &mut impl Write) -> Result<(), ListError> {
    let engines = config.subject == Subject::Connections { engines: true };
    let mut names = (!config.numeric).then(|| Names::new(naming::PATIENCE));
    let mut rows = Kernel::at("/")
        .connections(ConnectionFile::Conn)
        .map_err(not_read)?;
    let mut page = Connections::start(out, engines, names.as_mut())?;
    while let Some(connection) = rows.advance().map_err(not_read)? {
        page.push(&connection)?;
    }
    page.finish()?;
    if let Some(names) = &names {
        naming::tell_unresolved(names);
    }
    Ok(())
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
