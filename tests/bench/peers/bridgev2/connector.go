package main

import (
	"context"
	"fmt"

	"go.mau.fi/util/configupgrade"
	"maunium.net/go/mautrix/bridgev2"
	"maunium.net/go/mautrix/bridgev2/database"
	"maunium.net/go/mautrix/bridgev2/networkid"
	"maunium.net/go/mautrix/id"
)

// The DingTalk app, which relays what people write in Matrix.
const loginID networkid.UserLoginID = "app"

// Connector is DingTalk as the framework sees it.
type Connector struct {
	bridge *bridgev2.Bridge
	config *Config
}

var _ bridgev2.NetworkConnector = (*Connector)(nil)

// Init keeps the bridge.
func (connector *Connector) Init(bridge *bridgev2.Bridge) {
	connector.bridge = bridge
}

// Start puts the login and the portals into the database, where others have commands for it.
func (connector *Connector) Start(ctx context.Context) error {
	db := connector.bridge.DB
	admin := id.UserID(connector.config.Admin)
	login, err := db.UserLogin.GetByID(ctx, loginID)
	if err != nil || login != nil {
		return err
	}
	if err = db.User.Insert(ctx, &database.User{BridgeID: connector.bridge.ID, MXID: admin}); err != nil {
		return fmt.Errorf("inserting the admin: %w", err)
	}
	login = &database.UserLogin{BridgeID: connector.bridge.ID, UserMXID: admin, ID: loginID, RemoteName: "DingTalk"}
	if err = db.UserLogin.Insert(ctx, login); err != nil {
		return fmt.Errorf("inserting the login: %w", err)
	}
	for chat, room := range connector.config.Chats {
		portal := &database.Portal{
			BridgeID:     connector.bridge.ID,
			PortalKey:    portalKey(chat),
			MXID:         id.RoomID(room),
			RelayLoginID: loginID,
		}
		if err = db.Portal.Insert(ctx, portal); err != nil {
			return fmt.Errorf("inserting a portal: %w", err)
		}
	}
	return nil
}

// GetName names the network.
func (connector *Connector) GetName() bridgev2.BridgeName {
	return bridgev2.BridgeName{DisplayName: "DingTalk", NetworkID: "dingtalk", BeeperBridgeType: "dingtalk-peer"}
}

// GetDBMetaTypes says that nothing more is kept.
func (connector *Connector) GetDBMetaTypes() database.MetaTypes {
	return database.MetaTypes{}
}

// GetCapabilities says what the network can do.
func (connector *Connector) GetCapabilities() *bridgev2.NetworkGeneralCapabilities {
	return &bridgev2.NetworkGeneralCapabilities{}
}

// GetBridgeInfoVersion tells when rooms need new state.
func (connector *Connector) GetBridgeInfoVersion() (info, capabilities int) {
	return 1, 1
}

// GetConfig says that the framework's configuration has nothing of the connector's.
func (connector *Connector) GetConfig() (string, any, configupgrade.Upgrader) {
	return "", nil, nil
}

// LoadUserLogin makes the client of the login.
func (connector *Connector) LoadUserLogin(_ context.Context, login *bridgev2.UserLogin) error {
	login.Client = newClient(login, connector.config)
	return nil
}

// GetLoginFlows has none: the login is in the database.
func (connector *Connector) GetLoginFlows() []bridgev2.LoginFlow {
	return nil
}

// CreateLogin is never reached.
func (connector *Connector) CreateLogin(context.Context, *bridgev2.User, string) (bridgev2.LoginProcess, error) {
	return nil, fmt.Errorf("there are no logins by people")
}

func portalKey(chat string) networkid.PortalKey {
	return networkid.PortalKey{ID: networkid.PortalID(chat)}
}
